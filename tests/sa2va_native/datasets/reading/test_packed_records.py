"""Records in one piece of memory."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from sa2va_native.datasets.reading.packed_records import PackedRecords, apart

RECORDS: list[Any] = [
    {"id": 1, "points": [[1.5, 2.0]]},
    {},
    None,
    {"text": "\ud800 猫"},
    {"id": 2**70, "more": [float("inf")]},
]


def test_records_come_back_whole() -> None:
    """Red when a record is cut at another's end, or a value changes its type."""
    packed = PackedRecords(RECORDS)
    assert list(packed) == RECORDS
    assert packed[-1] == RECORDS[-1]
    assert list(pickle.loads(pickle.dumps(packed))) == RECORDS
    with pytest.raises(IndexError):
        packed[len(RECORDS)]


def test_records_are_picked_in_the_order_asked_for() -> None:
    packed = PackedRecords(RECORDS)
    assert list(packed.pick([4, 0]).pick([1, 1])) == [RECORDS[0], RECORDS[0]]
    assert list(packed.pick([])) == list(PackedRecords([])) == []


def test_a_worker_copies_nothing_that_it_reads() -> None:
    """Red when each loader worker comes to hold a set of its own, as it does of a list: references are counted."""
    records = [{"id": number, "points": [float(number + i) for i in range(20)]} for number in range(30_000)]
    packed = PackedRecords(records)
    assert _copied_by_reading(packed) < 0.1 * _copied_by_reading(records)


def test_a_copy_shares_no_object() -> None:
    """Red when an id that is kept of a json keeps the memory around it: a set of 2 GB would stay as large, packed."""
    ids = {1000: "a" * 5, 2**70: 1}
    copy = apart(ids)
    assert copy == ids
    assert not {id(number) for number in copy} & {id(number) for number in ids}


def _copied_by_reading(records: Any) -> int:
    """Private memory in kB that a forked process gains by reading all records."""
    end, mine = os.pipe()
    if not (child := os.fork()):
        before = _private()
        for record in records:
            record["points"][0]
        os.write(mine, str(_private() - before).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(mine)
    with os.fdopen(end) as written:
        return int(written.read())


def _private() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))

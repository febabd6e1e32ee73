"""Many small records in one block of memory."""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

Value = TypeVar("Value")

#: Version of marshal's format; in later ones the bytes of equal records depend on reference counts.
_VERSION = 2


class PackedRecords(Sequence[Any]):
    """Plain records, each unpacked on access.

    A list of dicts takes several times the memory. Loader workers share it after a fork, but would copy it page by
    page, because reading a Python object changes its reference count.

    Args:
        records: lists, dicts, text and numbers, as in a json.

    Raises:
        ValueError: other types, or lists nested more deeply than in any json that Python reads.
    """

    def __init__(self, records: Iterable[Any]) -> None:
        block, ends = bytearray(), array("q", [0])
        for record in records:
            block += packed(record)
            ends.append(len(block))
        self._block = np.frombuffer(block, np.uint8)
        self._starts, self._ends = np.array(ends[:-1]), np.array(ends[1:])

    def pick(self, places: Sequence[int]) -> PackedRecords:
        """The records at these indices, in this order, without copying them."""
        picked = object.__new__(PackedRecords)
        picked._block, chosen = self._block, np.array(places, np.int64)
        picked._starts, picked._ends = self._starts[chosen], self._ends[chosen]
        return picked

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: Any) -> Any:
        return marshal.loads(self._block[self._starts[index] : self._ends[index]].data)


def packed(record: Any) -> bytes:
    """Plain data as bytes; equal data in the same order gives the same bytes.

    Raises:
        ValueError: see :class:`PackedRecords`.
    """
    return marshal.dumps(record, _VERSION)


def apart(value: Value) -> Value:
    """A copy of plain data that shares no object with it.

    Keeping a single id of a json would otherwise keep alive the memory of the record around it.
    """
    copy: Value = marshal.loads(packed(value))
    return copy

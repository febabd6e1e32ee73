"""Many small records in one piece of memory."""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

Value = TypeVar("Value")

#: Of marshal; later ones write equal records differently, by how often their parts are referred to.
_VERSION = 2


class PackedRecords(Sequence[Any]):
    """Plain records, each unpacked when it is asked for.

    A list of dicts takes several times the memory, and loader workers, which share it after a fork, would copy it page
    by page: whoever looks at an object writes to it, as its references are counted.

    Args:
        records: lists, dicts, text and numbers, as of a json.

    Raises:
        ValueError: something else, or lists in lists that are deeper than any json that Python reads.
    """

    def __init__(self, records: Iterable[Any]) -> None:
        block, ends = bytearray(), array("q", [0])
        for record in records:
            block += packed(record)
            ends.append(len(block))
        self._block = np.frombuffer(block, np.uint8)
        self._starts, self._ends = np.array(ends[:-1]), np.array(ends[1:])

    def pick(self, places: Sequence[int]) -> PackedRecords:
        """The records at these places, in this order, without a copy of them."""
        picked = object.__new__(PackedRecords)
        picked._block, chosen = self._block, np.array(places, np.int64)
        picked._starts, picked._ends = self._starts[chosen], self._ends[chosen]
        return picked

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: Any) -> Any:
        return marshal.loads(self._block[self._starts[index] : self._ends[index]].data)


def packed(record: Any) -> bytes:
    """Plain data as bytes: the same for what is equal and in the same order.

    Raises:
        ValueError: see :class:`PackedRecords`.
    """
    return marshal.dumps(record, _VERSION)


def apart(value: Value) -> Value:
    """A copy of plain data that shares no object with it.

    One id that is kept of a json keeps the memory around it, where the rest of its record was.
    """
    copy: Value = marshal.loads(packed(value))
    return copy

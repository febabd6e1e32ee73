"""An order of a source in which objects of one picture stand side by side, for steps that look at a picture once.

A data set knows its pictures if it has a method ``pictures(indices)``: for each of some items a hashable value, equal
for items that show the same picture, or the same two frames; None where it is unknown. Items of a picture should be
neighbours. A set where they are not has a method ``by_picture()`` too: the indices of all items in an order in which
they are.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Hashable, Sequence
from typing import Any, Protocol, TypeGuard

import numpy as np

from sa2va_native.datasets.permutation import Permutation

#: Neighbours whose pictures are looked up at once; the items of a picture are shuffled among them.
_BLOCK = 256


class KnowsPictures(Protocol):
    """What a data set must have."""

    def pictures(self, indices: Sequence[int], /) -> list[Hashable]:
        """For each of some items, what it shows."""
        ...


def knows_pictures(dataset: Any) -> TypeGuard[KnowsPictures]:
    """Whether a data set tells which items are of one picture."""
    return hasattr(dataset, "pictures")


def places_by_picture(dataset: Any, items: Sequence[int] | np.ndarray) -> Sequence[int] | np.ndarray:
    """Positions in ``items``, sorted indices into ``dataset``, such that the items of a picture are neighbours."""
    if not hasattr(dataset, "by_picture"):
        return range(len(items))
    order = dataset.by_picture()
    return order if isinstance(items, range) else np.searchsorted(items, order[np.isin(order, items)])


class PictureOrder(Sequence[int]):
    """One pass over a source: every position once, in runs of ``size`` neighbours that mostly show one picture.

    The items, picture by picture, form a ring. It is turned by a random number of places and cut into runs, which are
    permuted; so a run shows a second picture only where the objects of the first end within it, and other objects
    share a run in each pass. The items of a picture are shuffled among themselves. Each position is computed on
    access, from the pictures of at most 256 neighbours.

    Args:
        dataset: knows its pictures.
        items: sorted indices into it.
        places: of :func:`places_by_picture`.
        size: R >= 1.
        lead: 0 .. R - 1 items that come before the first whole run, to fill the last one of the pass before.
        key: determines the order.
    """

    def __init__(
        self,
        dataset: KnowsPictures,
        items: Sequence[int] | np.ndarray,
        places: Sequence[int] | np.ndarray,
        size: int,
        lead: int,
        key: tuple[int, ...],
    ) -> None:
        self._dataset, self._items, self._places, self._size, self._key = dataset, items, places, size, key
        self._lead = min(lead, len(items))
        self._runs = Permutation((len(items) - self._lead) // size, (*key, 0))
        self._turn = int(np.random.default_rng((*key, 1)).integers(len(items)))
        self._block = functools.lru_cache(4)(self._shuffled)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, position: Any) -> Any:
        if not 0 <= position < len(self):
            raise IndexError(f"place {position} of {len(self)}")
        run, rest = divmod(int(position) - self._lead, self._size)
        if 0 <= run < len(self._runs):
            position = self._lead + self._runs[run] * self._size + rest
        block, offset = divmod((int(position) + self._turn) % len(self), _BLOCK)
        return self._block(block)[offset]

    def _shuffled(self, block: int) -> list[int]:
        """Positions in the items, those of each picture in a random order."""
        places = [int(place) for place in self._places[block * _BLOCK : (block + 1) * _BLOCK]]
        shown = self._dataset.pictures([int(self._items[place]) for place in places])
        rng = np.random.default_rng((*self._key, 2, block))
        pictures = itertools.groupby(range(len(places)), key=shown.__getitem__)
        return [places[i] for _, rows in pictures for i in rng.permutation(list(rows))]

"""Holds pictures out of training: a share of them, chosen by their names, with all their objects and texts.

A data set can be split if it has a method ``picture_name(index)``: what the set calls the picture of an item, or None
for an item that cannot be read. Nothing but names and the share decides, so every run, rank and machine makes the same
choice, and sets that name the same pictures, as COCO and RefCOCO do, hold out the same ones. A picture that is added
leaves the others where they are.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from sa2va_native.errors import ConfigError, DataError


def items_by_share(dataset: Any, share: float, held_out: bool) -> np.ndarray:
    """The indices of the items whose pictures are held out, or of all others, int64, ascending.

    Args:
        dataset: an adapter.
        share: 0 < share < 1, of the pictures; at least one is held out.
        held_out: which of the two.

    Raises:
        ConfigError: another share, or the data set does not tell its pictures.
        DataError: all of its items are of one picture.
    """
    if not 0 < share < 1:
        raise ConfigError(f"a share of held-out pictures must be above 0 and below 1, got {share}")
    if not hasattr(dataset, "picture_name"):
        raise ConfigError(
            f"{type(dataset).__name__} does not tell which items are of one picture, so none can be held out. Evaluate "
            "on a set of its own (--val-root)."
        )
    names = [dataset.picture_name(index) for index in range(len(dataset))]
    places = {name: _place(name) for name in set(names) - {None}}
    if len(places) < 2:
        raise DataError(
            f"{type(dataset).__name__}: {len(places)} picture among {len(names):,} items, so none can be held out. "
            "Evaluate on a set of its own (--val-root)."
        )
    first, *_, last = sorted(places.values())
    chosen = {name for name, place in places.items() if place == first or (place < share and place != last)}
    return np.array([index for index, name in enumerate(names) if (name in chosen) == held_out], np.int64)


def _place(name: str) -> float:
    """Where a name falls in 0..1."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:8], "big") / 2**64

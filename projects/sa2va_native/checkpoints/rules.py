"""Rules that pair the names of tensors in published checkpoints with ours: data, read in both directions.

A rule pairs a published name with ours. ``#`` stands for a layer number and ``*`` for any rest of a name; the
n-th one on the left is the n-th one on the right. Several names on one side are the rows (dimension 0) of the tensor on
the other side, in this order: a fused ``qkv`` becomes three tensors, four point embeddings become one table.

The tables are in the models' folders: ``key_maps.py`` in :mod:`sa2va_native.models.internvl` and
:mod:`sa2va_native.models.sam2`.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """One line of a table."""

    theirs: tuple[str, ...]
    ours: tuple[str, ...]


def rule(theirs: str, ours: str) -> Rule:
    """A rule from two texts; names of one side are separated by spaces."""
    return Rule(tuple(theirs.split()), tuple(ours.split()))


def prefixed(rules: tuple[Rule, ...], theirs: str = "", ours: str = "") -> tuple[Rule, ...]:
    """The same rules below a prefix on either side."""
    return tuple(Rule(tuple(theirs + name for name in r.theirs), tuple(ours + name for name in r.ours)) for r in rules)

"""The objects that are diagnosed: drawn from the data that a config trains on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from types import SimpleNamespace

import numpy as np

from sa2va_native.datasets.mixture import Item, MixtureDataset, Source
from sa2va_native.datasets.scenes.language import describe
from sa2va_native.errors import ConfigError
from sa2va_native.structures import Draw, DrawKey


def draw_objects(data: MixtureDataset, count: int, seed: int = 0) -> list[Item]:
    """``count`` objects of the ``cycle`` sources, and as many with a human text; fewer if there are no more.

    Human texts are those of ``caption`` sources, else of ``refer`` sources. Without a ``cycle`` source the labelled
    objects are all. Objects that no cell of the token grid covers cannot be captioned and are left out.

    Returns:
        items of kind ``cycle``, whose text is the human's or None.

    Raises:
        ConfigError: ``count`` is below 2, as the floor compares an object with another one.
    """
    if count < 2:
        raise ConfigError(f"--objects {count}: at least 2, as captions are compared with those of other objects")
    by_kind = {kind: [one for one in data.sources if one.kind == kind] for kind in ("cycle", "caption", "refer")}
    groups = (by_kind["cycle"], by_kind["caption"] or by_kind["refer"])
    return [one for group in groups for one in _of_sources(data, group, count, seed)]


def in_batches(items: Sequence[Item], size: int) -> list[list[Item]]:
    """Groups of at most ``size`` items, in which all have a text or none has."""
    batches = []
    for _, alike in groupby(items, lambda item: item.text is None):
        group = list(alike)
        batches += [group[start : start + size] for start in range(0, len(group), size)]
    return batches


def human_text(item: Item) -> str | None:
    """A human's words: the item's own; of a generated scene the caption that its attributes make."""
    if item.kind == "cycle":
        return None
    if item.kind == "refer" and {"size", "texture", "colour", "shape"} <= item.attributes.keys():
        return describe(SimpleNamespace(**item.attributes, x=0.0, y=0.0))
    return item.text


def _of_sources(data: MixtureDataset, sources: list[Source], count: int, seed: int) -> list[Item]:
    found: list[Item] = []
    for number, source in enumerate(sources):
        share = (number + 1) * count // len(sources) - len(found)
        order = np.random.default_rng((seed, number)).permutation(len(source.items))
        drawn = (data[Draw(source.start + int(i), DrawKey(0, source.start + int(i)))] for i in order)
        usable = (one._replace(kind="cycle", text=human_text(one)) for one in drawn if _is_usable(one))
        found += [one for one, _ in zip(usable, range(share), strict=False)]
    return found


def _is_usable(item: Item) -> bool:
    side1, side2 = item.sides.caption_side, item.sides.side2
    return bool(side1.region.any() and side2.mask.any())

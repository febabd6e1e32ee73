"""The objects that are diagnosed: drawn from the data that a config trains on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sa2va_native.datasets.mixture import Item, MixtureDataset, Source
from sa2va_native.datasets.scenes.language import describe
from sa2va_native.errors import ConfigError
from sa2va_native.structures import Draw, DrawKey

#: How far apart in a data set two objects of one picture may be; files that do not list them together show none.
NEIGHBOURS = 8


class Object(NamedTuple):
    """One object of the sample."""

    item: Item
    text: str | None  #: a human's words for it: a caption, else an expression
    others: Tensor  #: [O, h, w] bool, masks of other objects of picture 2, as far as they are known; O may be 0


def draw_objects(data: MixtureDataset, count: int, seed: int = 0) -> list[Object]:
    """``count`` objects of the ``cycle`` sources, and as many with a human text; fewer if there are no more.

    Human texts are those of ``caption`` sources, else of ``refer`` sources. Without a ``cycle`` source the labelled
    objects are all. Objects that no cell of the token grid covers cannot be captioned and are left out.

    Raises:
        ConfigError: ``count`` is below 2, as the floor compares an object with another one.
    """
    if count < 2:
        raise ConfigError(f"--objects {count}: at least 2, as captions are compared with those of other objects")
    by_kind = {kind: [one for one in data.sources if one.kind == kind] for kind in ("cycle", "caption", "refer")}
    groups = (by_kind["cycle"], by_kind["caption"] or by_kind["refer"])
    return [one for group in groups for one in _of_sources(data, group, count, seed)]


def _of_sources(data: MixtureDataset, sources: list[Source], count: int, seed: int) -> list[Object]:
    found: list[Object] = []
    for number, source in enumerate(sources):
        share = (number + 1) * count // len(sources) - len(found)
        order = np.random.default_rng((seed, number)).permutation(len(source.items))
        usable = (one for index in order if (one := _object(data, source, int(index))) is not None)
        found += [one for one, _ in zip(usable, range(share), strict=False)]
    return found


def _object(data: MixtureDataset, source: Source, index: int) -> Object | None:
    item = _item(data, source, index)
    side1, side2 = item.sides.caption_side, item.sides.mask_side or item.sides.caption_side
    if not side1.region.any() or not side2.mask.any():
        return None
    others: list[Tensor] = []
    near = range(max(0, index - NEIGHBOURS), min(len(source.items), index + NEIGHBOURS + 1))
    for other in (_item(data, source, one).sides for one in near if one != index):
        other2 = other.mask_side or other.caption_side
        if torch.equal(other2.pixel_values, side2.pixel_values):
            mask = other2.mask > 0
            if all(_iou(mask, one) < 0.5 for one in (side2.mask > 0, *others)):  # a second sentence is no second object
                others.append(mask)
    masks = torch.stack(others) if others else torch.zeros(0, *side2.mask.shape, dtype=torch.bool)
    return Object(item, human_text(item), masks)


def _item(data: MixtureDataset, source: Source, index: int) -> Item:
    return data[Draw(source.start + index, DrawKey(0, source.start + index))]


def _iou(a: Tensor, b: Tensor) -> float:
    return float((a & b).sum() / (a | b).sum().clamp(min=1))


def human_text(item: Item) -> str | None:
    """A human's words: the item's own; of a generated scene the caption that its attributes make."""
    if item.kind != "caption" and {"size", "texture", "colour", "shape"} <= item.attributes.keys():
        return describe(SimpleNamespace(**item.attributes, x=0.0, y=0.0))
    return item.text

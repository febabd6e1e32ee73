"""Captions of regions with all that people said of the same region."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Region(NamedTuple):
    """A region, its caption and its human texts."""

    name: str  #: the same for the same pixels of the same picture
    caption: str | None  #: generated; None if missing
    stopped: bool  #: whether it ended with a stop word; False if missing
    references: tuple[str, ...]  #: human texts


def region_of(sample: Mapping[str, Any]) -> Region:
    """The region of a result of the model's ``predict``, with the one text that it has."""
    mask = sample["gt_mask"]
    digest = hashlib.blake2b(f"{sample['picture_id']} {mask.shape}".encode(), digest_size=16)
    digest.update(np.packbits(mask).data)
    references = (sample["text"],) if sample["text"] else ()
    return Region(digest.hexdigest(), sample["caption"], bool(sample["stopped"]), references)


def by_region(regions: Iterable[Region]) -> list[Region]:
    """Each region once, with all its texts, in an order that does not depend on that of the samples.

    A data set that has several texts of an object, such as RefCOCOg, gives it once for each. Its captions are the same
    but for the last bits of a batch; if they differ, the first in alphabetical order counts.
    """
    found: dict[str, list[Region]] = {}
    for region in regions:
        found.setdefault(region.name, []).append(region)
    merged = []
    for name in sorted(found):
        first = min(found[name], key=lambda region: (region.caption or "", region.stopped))
        texts = sorted(text for region in found[name] for text in region.references)
        merged.append(first._replace(references=tuple(texts)))
    return merged

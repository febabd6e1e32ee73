"""Finds sets with texts, and how their adapters read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sa2va_native.datasets.finding.find_sets import CLIPS, find_mask_sets, find_sets
from sa2va_native.datasets.finding.found_set import FoundSet, for_training
from sa2va_native.datasets.reading.coco_file import CocoFile
from sa2va_native.datasets.reading.files import MAX_IMAGE_PIXELS
from sa2va_native.datasets.reading.texts import USUAL, is_text
from sa2va_native.datasets.reading.unchanged import shared
from sa2va_native.errors import DataError

#: Adapters that read texts without being told to.
_WITH_TEXTS = ("ReferExpressions", "GeneralizedReferExpressions", "ReasonSeg", "DescribeAnything")


def find_kind_sets(path: str | Path, kind: str) -> list[FoundSet]:
    """The sets at a path to train a kind on; ``val`` and ``test`` sets only if there are no others.

    Args:
        path: as for :func:`find_sets`.
        kind: ``cycle``, whose masks need no text, ``refer`` or ``caption``.

    Raises:
        DataError: see :func:`find_mask_sets`; or the sets have no texts.
    """
    if kind == "cycle":
        return find_mask_sets(path)
    return for_training(_with_texts(path), path)


def find_validation_sets(path: str | Path, kind: str) -> list[FoundSet]:
    """The sets at a path to validate a kind on: those with a word for validation in their name, else all.

    Raises:
        DataError: see :func:`find_kind_sets`.
    """
    if kind == "cycle":
        found = [one for one in find_sets(path) if one.config["type"] not in CLIPS]
        found = found or find_mask_sets(path)  # which says why there are none
    else:
        found = _with_texts(path)
    return [one for one in found if one.validation] or found


def _with_texts(path: str | Path) -> list[FoundSet]:
    found = find_sets(path)
    settings = [_text_settings(one.config) for one in found]
    sets = [
        FoundSet(one.name, {**one.config, **more})
        for one, more in zip(found, settings, strict=True)
        if more is not None
    ]
    if not sets:
        kinds = ", ".join(sorted({one.config["type"] for one in found}))
        raise DataError(
            f"{path}: {kinds} without texts that are read by themselves. Train its masks with --kind cycle, or write a "
            "source with the adapter's text settings into a config (docs/data/index.md)."
        )
    return sets


def _text_settings(config: dict[str, Any]) -> dict[str, Any] | None:
    """What an adapter is told so that it reads texts; None if there are none."""
    if config["type"] in _WITH_TEXTS:
        return {}
    if config["type"] == "OwnData":
        return {"text_required": True}
    if config["type"] == "CocoInstances":
        file = shared(CocoFile, Path(config["ann_file"]), Path(config["image_root"]), MAX_IMAGE_PIXELS)
        key = _text_key(file.annotations)
        return None if key is None else {"text_key": key}
    return None


def _text_key(annotations: Sequence[dict[str, Any]]) -> str | None:
    """The usual key of a text that the most annotations have."""
    counts = dict.fromkeys(USUAL, 0)
    for annotation in annotations:
        for key in USUAL:
            counts[key] += isinstance(annotation.get(key), str) and is_text(annotation[key])
    key = max(counts, key=lambda one: counts[one])
    return key if counts[key] else None

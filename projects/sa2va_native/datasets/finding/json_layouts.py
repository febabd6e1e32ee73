"""Tells the layouts of other tools by the beginning of a json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sa2va_native.datasets.finding.coco_json import beginning
from sa2va_native.errors import DataError

SA2VA = "Sa2VA's fine-tuning data"
PHRASE_CUT = "PhraseCut"
SAM = "what SAM finds by itself"
LABELME = "LabelMe's layout"
REASON_SEG = "ReasonSeg"


def json_layout(file: Path) -> str | None:
    """One of the layouts above; None if it is of another one, or cannot be read."""
    try:
        text = beginning(file)
    except DataError:
        return None
    if text.startswith("["):
        return _of_list(_first(text[1:].lstrip()))
    if '"shapes"' not in text:
        return None
    if '"imagePath"' in text or '"imageData"' in text:
        return LABELME
    return REASON_SEG if "text" in _first(text) else None


def _first(text: str) -> dict[str, Any]:
    """The object that a text begins with; empty if it is none, or goes on beyond the text."""
    try:
        first, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return {}
    return first if isinstance(first, dict) else {}


def _of_list(record: dict[str, Any]) -> str | None:
    if {"phrase", "Polygons"} <= record.keys():
        return PHRASE_CUT
    if "segmentation" in record and {"stability_score", "crop_box"} & record.keys():
        return SAM
    if "image" in record and isinstance(record.get("text"), list) and _is_of_objects(record.get("mask")):
        return SA2VA
    return None


def _is_of_objects(mask: Any) -> bool:
    """Whether it lists polygons of objects; those of one object, as points, are pairs at that depth."""
    for _ in range(2):
        mask = mask[0] if isinstance(mask, list) and mask else None
    return isinstance(mask, list) and len(mask) > 2 and not isinstance(mask[0], list)

"""ReasonSeg: questions whose answer is an object (LISA, arXiv 2308.00692)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.registry import DATASETS

from sa2va_native.datasets.reading.files import MAX_IMAGE_PIXELS, read_picture, require_folder, usable_text
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.errors import BadSample, DataError
from sa2va_native.files.bounded_json import load_json, read_bounded
from sa2va_native.structures import Sample

_REMEDY = "Expected ReasonSeg's layout: {root}/{split}/NAME.json beside NAME.jpg."
#: Farthest coordinate in px from the upper left corner, about a hundred times the largest picture's side.
_FARTHEST = 1_000_000


@DATASETS.register_module()
class ReasonSeg:
    """Each json of a split is one item, with the first of its texts, which LISA's validation uses too.

    A json has ``text`` (a list), ``is_sentence``, and ``shapes`` with a ``label`` and ``points`` each: ``target``, or
    with ``ignore`` in it, pixels that no metric may count; ``flag`` means nothing. Smaller shapes lie over larger ones.
    ``attributes["ignored"]`` of a sample is the mask of its ignored pixels as COCO RLE.

    These are bad samples: a picture that is missing or broken, a json that is not one or lacks a key, no text,
    points that are no outline, and no pixel of a target.

    Args:
        root: folder of the splits.
        split: ``train``, ``val`` or ``test``.
        max_pixels: largest picture that is decoded.

    Raises:
        DataError: a missing folder, or no json in it.
    """

    def __init__(self, root: str | Path, split: str, max_pixels: int = MAX_IMAGE_PIXELS) -> None:
        self.root = require_folder(Path(root) / split, _REMEDY)
        self.max_pixels = max_pixels
        self.names = sorted(file.stem for file in self.root.glob("*.json"))
        if not self.names:
            raise DataError(f"{self.root}: no json. {_REMEDY}")

    def __len__(self) -> int:
        return len(self.names)

    def picture_name(self, index: int) -> str:
        """See ``datasets.picture_share``."""
        return self.names[index]

    def __getitem__(self, index: int) -> Sample:
        name = self.names[index]
        file = self.root / f"{name}.json"
        content = _content(file)
        texts = content["text"] if isinstance(content["text"], list) else [content["text"]]
        text = usable_text(next(iter(texts), ""), file, "text")
        image = read_picture(self.root / f"{name}.jpg", file.name, None, self.max_pixels)
        target, ignored = _drawn(content["shapes"], image.shape[:2], file)
        if not target.any():
            raise BadSample(str(file), "shapes", "empty mask: no pixel of a target")
        return Sample(
            f"{self.root.name}/{file.name}", image, target, text, attributes={"ignored": encode_mask(ignored)}
        )


def _content(file: Path) -> dict[str, Any]:
    try:
        encoded = read_bounded(file)
        try:
            encoded.decode("utf-8")
        except UnicodeDecodeError:
            encoded = encoded.decode("cp1252").encode()  # some of the published ones
        content = load_json(encoded)
    except (OSError, ValueError, RecursionError) as error:
        raise BadSample(str(file), file.name, f"not JSON; truncated? ({error})") from error
    if not isinstance(content, dict):
        raise BadSample(str(file), file.name, f"a {type(content).__name__}, expected an object")
    for key in ("text", "shapes"):
        if key not in content:
            raise BadSample(str(file), file.name, f"no '{key}'")
    return content


def _drawn(shapes: Any, size: tuple[int, ...], file: Path) -> tuple[np.ndarray, np.ndarray]:
    """The targets and the ignored pixels, bool of ``size``, with their outlines, as LISA's code draws them."""
    drawn: list[tuple[int, bool, np.ndarray]] = []
    for number, shape in enumerate(shapes if isinstance(shapes, list) else []):
        label = shape.get("label") if isinstance(shape, dict) else None
        if not isinstance(label, str):
            raise BadSample(str(file), f"shape {number}", "no 'label'")
        if label.lower() == "flag":
            continue
        mask = np.zeros(size, np.uint8)
        points = _outline(shape.get("points"), file, f"shape {number}")
        cv2.polylines(mask, [points], True, 1, 1)
        cv2.fillPoly(mask, [points], 1)
        drawn.append((int(mask.sum()), "ignore" in label.lower(), mask.astype(bool)))
    target, ignored = np.zeros((2, *size), bool)
    for _, left_out, mask in sorted(drawn, key=lambda one: -one[0]):
        target[mask], ignored[mask] = not left_out, left_out
    return target, ignored


def _outline(points: Any, file: Path, record: str) -> np.ndarray:
    """int32 [N, 2]."""
    try:
        outline = np.array(points, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadSample(str(file), record, f"polygon with a coordinate that is no number ({error})") from error
    if outline.ndim != 2 or outline.shape[1] != 2 or not (np.abs(outline) < _FARTHEST).all():
        raise BadSample(
            str(file), record, f"polygon of shape {outline.shape}, expected x, y of points near the picture"
        )
    return outline.astype(np.int32)

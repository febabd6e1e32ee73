"""COCO segmentations (polygons, compressed and uncompressed RLE) <-> bool masks, through pycocotools."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from projects.sa2va.errors import DataError


class MaskError(DataError, ValueError):
    """A segmentation that is no usable mask; the message says why. Adapters turn it into a ``BadSample``."""


def decode_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """A COCO segmentation as a mask.

    Args:
        segmentation: a list of polygons ``[[x0, y0, x1, y1, ...], ...]`` in px (their union is meant), or an
            RLE ``{"size": [height, width], "counts": str | bytes | list[int]}``, as crowds have (format:
            https://cocodataset.org/#format-data).
        height, width: size of the picture in px.

    Returns:
        bool (height, width) with at least one pixel set.

    Raises:
        MaskError: no segmentation, a polygon of fewer than 3 points, an RLE of another size than the picture
            or with broken counts, an empty mask, or a mask wholly outside its picture.
    """
    if not segmentation:
        raise MaskError("no segmentation")
    rle = (
        _rle(segmentation, height, width) if isinstance(segmentation, dict) else _polygons(segmentation, height, width)
    )
    try:
        mask = coco_mask.decode(rle).astype(bool)
    except ValueError as error:
        raise MaskError(f"RLE counts cannot be decoded ({error})") from error
    if not mask.any():
        raise MaskError("empty mask: it covers no pixel")
    return mask


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """bool (H, W) -> compressed RLE ``{"size": [H, W], "counts": str}``, ready for JSON."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(extent) for extent in rle["size"]], "counts": rle["counts"].decode("ascii")}


def _rle(segmentation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size is None or list(size) != [height, width]:
        raise MaskError(f"RLE of size {size} (height, width) on a picture of size {[height, width]}")
    if isinstance(counts, list):
        if any(not isinstance(count, int) or count < 0 for count in counts) or sum(counts) != height * width:
            raise MaskError(f"RLE counts do not add up to {height} x {width} px")
        return coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    if not isinstance(counts, (str, bytes)):
        raise MaskError(f"RLE counts are a {type(counts).__name__}, expected text or a list of run lengths")
    return {"size": [height, width], "counts": counts.encode("ascii") if isinstance(counts, str) else counts}


def _polygons(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    if not isinstance(segmentation, list) or not all(isinstance(polygon, list) for polygon in segmentation):
        raise MaskError("segmentation is neither a list of polygons nor an RLE")
    inside = False
    for polygon in segmentation:
        # pycocotools would read 4 numbers as a box
        if len(polygon) < 6 or len(polygon) % 2:
            raise MaskError(f"polygon of {len(polygon)} numbers, expected x, y of at least 3 points")
        points = np.array(polygon, dtype=np.float64).reshape(-1, 2)
        if not np.isfinite(points).all():
            raise MaskError("polygon with a coordinate that is not finite")
        inside |= bool((points.max(axis=0) > 0).all() and (points.min(axis=0) < (width, height)).all())
    if not inside:
        raise MaskError(f"mask wholly outside its picture of {width} x {height} px")
    return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))

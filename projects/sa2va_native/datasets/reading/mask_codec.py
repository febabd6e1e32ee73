"""COCO segmentations (polygons, compressed and uncompressed RLE) <-> bool masks, with pycocotools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from sa2va_native.errors import BadSample, DataError

#: Longest outline of a polygon in px, about 40 times around the largest picture; pycocotools takes 100 bytes per px.
_MAX_OUTLINE = 2_000_000


class MaskError(DataError, ValueError):
    """A segmentation that is not a usable mask; the message says why. Adapters turn it into a ``BadSample``."""


def decode_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """A COCO segmentation as a mask.

    Args:
        segmentation: a list of polygons ``[[x0, y0, x1, y1, ...], ...]`` in px (their union is the mask), or an
            RLE ``{"size": [height, width], "counts": str | bytes | list[int]}``, as crowds have (format:
            https://cocodataset.org/#format-data).
        height, width: size of the picture in px.

    Returns:
        bool (height, width) with at least one pixel set.

    Raises:
        MaskError: no segmentation, a polygon with fewer than 3 points or impossible coordinates, an RLE whose size
            differs from the picture's or whose counts are broken, an empty mask, or one entirely outside its picture.
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


def mask_on(picture: np.ndarray, segmentation: Any, path: str | Path, record: str) -> np.ndarray:
    """:func:`decode_mask` for a record and its picture (H, W, 3).

    Raises:
        BadSample: see :func:`decode_mask`.
    """
    try:
        return decode_mask(segmentation, *picture.shape[:2])
    except MaskError as error:
        raise BadSample(str(path), record, str(error)) from error


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """bool (H, W) -> compressed RLE ``{"size": [H, W], "counts": str}``, ready for JSON."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(extent) for extent in rle["size"]], "counts": rle["counts"].decode("ascii")}


def mask_area(segmentation: Any, height: int, width: int) -> int:
    """Number of pixels of an RLE, counted without unpacking it.

    Raises:
        MaskError: see :func:`decode_mask`, but an empty mask has 0 pixels; also for numbers too large for pycocotools.
    """
    if not isinstance(segmentation, dict):
        raise MaskError(f"a {type(segmentation).__name__}, expected an RLE")
    try:
        return int(coco_mask.area(_rle(segmentation, height, width)))
    except OverflowError as error:
        raise MaskError(f"RLE of size {[height, width]}: {error}") from error


def rle_size(segmentation: Any) -> tuple[int, int] | None:
    """(height, width) of an RLE in px; None for polygons, and for an RLE without a size."""
    size = segmentation.get("size") if isinstance(segmentation, dict) else None
    if isinstance(size, list) and len(size) == 2 and all(isinstance(extent, int) for extent in size):
        return size[0], size[1]
    return None


def _rle(segmentation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, (list, tuple)) or list(size) != [height, width]:
        raise MaskError(f"RLE of size {size} (height, width) on a picture of size {[height, width]}")
    if isinstance(counts, list):
        if any(not isinstance(count, int) or count < 0 for count in counts) or sum(counts) != height * width:
            raise MaskError(f"RLE counts do not add up to {height} x {width} px")
        return coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    if not isinstance(counts, (str, bytes)):
        raise MaskError(f"RLE counts are a {type(counts).__name__}, expected text or a list of run lengths")
    code = counts.encode("utf-8", "replace") if isinstance(counts, str) else counts
    runs = _run_lengths(code)
    # pycocotools would fill the rest with uninitialised memory
    if runs.min() < 0 or runs.sum() != height * width:
        raise MaskError(f"RLE counts do not add up to {height} x {width} px")
    return {"size": [height, width], "counts": code}


def _run_lengths(code: bytes) -> np.ndarray:
    """The runs of compressed counts, int64, as pycocotools' ``rleFrString`` reads them.

    Each character, counted from ``"0"``, holds 5 bits of a number, lowest first; its sixth bit says that the number
    continues. The highest bit of a number is its sign. From the fourth number on, it is the difference to the run two
    before.

    Raises:
        MaskError: truncated within a number, an invalid character, or a run longer than any picture.
    """
    values = np.frombuffer(code, np.uint8).astype(np.int64) - ord("0")
    if not len(values) or values.min() < 0 or values.max() > 63 or values[-1] & 32:
        raise MaskError("RLE counts cannot be decoded (truncated, or with an invalid character)")
    ends = np.flatnonzero(values < 32)
    starts = np.concatenate(([0], ends[:-1] + 1))
    if (ends - starts).max() >= 10:
        raise MaskError("RLE counts cannot be decoded (a run longer than any picture)")
    shifts = 5 * (np.arange(len(values)) - np.repeat(starts, ends - starts + 1))
    runs = np.add.reduceat((values & 31) << shifts, starts)
    runs -= np.where(values[ends] & 16, 1 << (shifts[ends] + 5), 0)
    for first in (1, 2):
        runs[first::2] = np.cumsum(runs[first::2])
    return runs


def _polygons(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    if not isinstance(segmentation, list) or not all(isinstance(polygon, list) for polygon in segmentation):
        raise MaskError("segmentation is neither a list of polygons nor an RLE")
    outline, within, polygons = 0.0, False, []
    for polygon in segmentation:
        # pycocotools would read 4 numbers as a box
        if len(polygon) < 6 or len(polygon) % 2:
            raise MaskError(f"polygon of {len(polygon)} numbers, expected x, y of at least 3 points")
        if not all(isinstance(value, (int, float)) for value in polygon):
            raise MaskError("polygon with a coordinate that is not a number")
        try:
            points = np.array(polygon, dtype=np.float64).reshape(-1, 2)
        except OverflowError as error:
            raise MaskError("polygon with a coordinate that is not finite") from error
        if not np.isfinite(points).all():
            raise MaskError("polygon with a coordinate that is not finite")
        outline += float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())
        within |= bool((points.max(axis=0) > 0).all() and (points.min(axis=0) < (width, height)).all())
        polygons.append(points.ravel().tolist())
    if not within:
        raise MaskError(f"mask entirely outside its picture of {width} x {height} px")
    if outline > _MAX_OUTLINE:
        raise MaskError(f"polygons with an outline of {outline:.3g} px on a picture of {width} x {height} px")
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))

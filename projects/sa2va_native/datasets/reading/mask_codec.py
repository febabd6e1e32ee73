"""COCO segmentations (polygons, compressed and uncompressed RLE) <-> bool masks, with pycocotools.

=====================================================  ===========================================================
found                                                  result
=====================================================  ===========================================================
``[[x0, y0, x1, y1, ...], ...]``                       polygons; their union is the mask
``{"size": [height, width], "counts": ...}``           an RLE; counts are text, run lengths, or either as text
a list of RLEs, also mixed with polygons               their union
``[x0, y0, ...]``, ``[[x0, y0], ...]``                 one polygon, flat or as points
``[[[x0, y0], ...], ...]``                             polygons as points
sound pieces beside others                             the sound ones are used, the others are told (``Decoded``)
no sound piece                                         refused with the first one's reason
``[]``, ``[[]]``, ``null``, ``{}``                     no mask (``has_mask``)
=====================================================  ===========================================================
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from sa2va_native.datasets.reading.numbers import as_whole
from sa2va_native.errors import BadSample, DataError

#: Longest outline of a polygon in px, about 40 times around the largest picture; pycocotools takes 100 bytes per px.
_MAX_OUTLINE = 2_000_000
#: Most pieces of a mask; pycocotools' time for a union grows with their square.
_MAX_PIECES = 10_000
#: Run lengths written as text. Compressed counts have neither spaces nor commas.
_RUNS_AS_TEXT = re.compile(rb"\s*\[?\s*\d+(?:[\s,]+\d+)+\s*\]?\s*")


class MaskError(DataError, ValueError):
    """A segmentation that is not a usable mask; the message says why. Adapters turn it into a ``BadSample``."""


class Decoded(NamedTuple):
    """A mask, and what was left out of it."""

    mask: np.ndarray  #: bool (H, W)
    strays: tuple[str, ...]  #: for each piece that could not be used, why


def has_mask(segmentation: Any) -> bool:
    """Whether there is anything in a segmentation; empty pieces are nothing."""
    pieces = segmentation if isinstance(segmentation, list) else [segmentation]
    return any(map(_is_there, pieces))


def decode_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """A COCO segmentation as a mask: the first half of :func:`decode_pieces`."""
    return decode_pieces(segmentation, height, width).mask


def decode_pieces(segmentation: Any, height: int, width: int) -> Decoded:
    """A COCO segmentation as a mask, by the rules above.

    Args:
        segmentation: see above; coordinates in px (format: https://cocodataset.org/#format-data).
        height, width: size of the picture in px.

    Returns:
        bool (height, width) with at least one pixel set, and the pieces that were left out.

    Raises:
        MaskError: no segmentation; no piece of it is sound (a polygon with fewer than 3 points, impossible coordinates
            or entirely outside its picture; an RLE whose size differs from the picture's or whose counts are broken);
            an empty mask, or too many pieces.
    """
    rles, faults, outline = [], [], 0.0
    pieces = _pieces(segmentation)
    if len(pieces) > _MAX_PIECES:
        raise MaskError(f"mask of {len(pieces)} pieces, above {_MAX_PIECES}")
    for piece in pieces:
        try:
            if isinstance(piece, dict):
                rles.append(_rle(piece, height, width))
            else:
                points = _points(piece, height, width)
                longer = outline + float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())
                if longer > _MAX_OUTLINE:
                    raise MaskError(f"polygons with an outline of {longer:.3g} px on a picture of {width} x {height}")
                outline = longer
                rles += coco_mask.frPyObjects([points.ravel().tolist()], height, width)
        except MaskError as error:
            faults.append(error)
    if not rles:
        raise faults[0]
    try:
        mask = coco_mask.decode(rles[0] if len(rles) == 1 else coco_mask.merge(rles)).astype(bool)
    except ValueError as error:
        raise MaskError(f"RLE counts cannot be decoded ({error})") from error
    if not mask.any():
        raise MaskError("empty mask: it covers no pixel")
    return Decoded(mask, tuple(map(str, faults)))


def mask_on(picture: np.ndarray, segmentation: Any, path: str | Path, record: str) -> Decoded:
    """:func:`decode_pieces` for a record and its picture (H, W, 3).

    Raises:
        BadSample: see :func:`decode_pieces`.
    """
    try:
        return decode_pieces(segmentation, *picture.shape[:2])
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
    if isinstance(size, list) and len(size) == 2:
        height, width = map(as_whole, size)
        if height is not None and width is not None:
            return height, width
    return None


def _is_there(piece: Any) -> bool:
    """Whether a piece is not empty; a 0 is a coordinate."""
    return piece is not None and piece is not False and not (isinstance(piece, (list, dict, str)) and not piece)


def _pieces(segmentation: Any) -> list[Any]:
    """The RLEs and flat polygons of a segmentation; empty pieces are left out."""
    if not has_mask(segmentation):
        raise MaskError("no segmentation")
    if isinstance(segmentation, dict):
        return [segmentation]
    if not isinstance(segmentation, list):
        raise MaskError(f"segmentation is neither a list of polygons nor an RLE, but a {type(segmentation).__name__}")
    if not any(isinstance(piece, (list, dict)) for piece in segmentation):
        return [segmentation]  # one polygon
    if len(segmentation) > 2 and _is_pairs(segmentation):
        return [_flat(segmentation)]
    pieces = filter(_is_there, segmentation)
    return [_flat(piece) if isinstance(piece, list) and _is_pairs(piece) else piece for piece in pieces]


def _is_pairs(points: list[Any]) -> bool:
    """Whether a polygon is written as points."""
    return all(isinstance(point, list) and len(point) == 2 and not isinstance(point[0], list) for point in points)


def _flat(points: list[Any]) -> list[Any]:
    return [value for point in points for value in point]


def _rle(segmentation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    if not {"size", "counts"} & segmentation.keys():
        keys = ", ".join(map(str, list(segmentation)[:5]))
        raise MaskError(f"segmentation is neither a list of polygons nor an RLE, but an object of {keys:.80}")
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, (list, tuple)) or list(map(as_whole, size)) != [height, width]:
        raise MaskError(f"RLE of size {size} (height, width) on a picture of size {[height, width]}")
    if isinstance(counts, (str, bytes)):
        code = _unwrapped(counts.encode("utf-8", "replace") if isinstance(counts, str) else counts)
        counts = re.findall(r"\d+", code.decode("ascii")) if _RUNS_AS_TEXT.fullmatch(code) else code
    if isinstance(counts, list):
        runs = [as_whole(count) for count in counts]
        whole = [run for run in runs if run is not None and run >= 0]
        if len(whole) < len(runs) or sum(whole) != height * width:
            raise MaskError(f"RLE counts do not add up to {height} x {width} px")
        return coco_mask.frPyObjects({"size": [height, width], "counts": whole}, height, width)
    if not isinstance(counts, bytes):
        raise MaskError(f"RLE counts are a {type(counts).__name__}, expected text or a list of run lengths")
    lengths = _run_lengths(counts)
    # pycocotools would fill the rest with uninitialised memory
    if lengths.min() < 0 or lengths.sum() != height * width:
        raise MaskError(f"RLE counts do not add up to {height} x {width} px")
    return {"size": [height, width], "counts": counts}


def _unwrapped(code: bytes) -> bytes:
    """Compressed counts that were written as Python shows bytes, ``b'...'``. Counts themselves have no quotes."""
    for quote in (b"'", b'"'):
        if code.startswith(b"b" + quote) and code.endswith(quote) and len(code) > 2:
            return code[2:-1].replace(b"\\\\", b"\\")
    return code


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


def _points(polygon: Any, height: int, width: int) -> np.ndarray:
    """The points of a flat polygon, float64 (N, 2) x, y.

    Raises:
        MaskError: fewer than 3 points, an impossible coordinate, or entirely outside the picture.
    """
    if not isinstance(polygon, list):
        raise MaskError(f"piece that is neither a list of numbers nor an RLE, but a {type(polygon).__name__}")
    for value in polygon:
        if not isinstance(value, (int, float)):
            raise MaskError(f"polygon with a coordinate that is not a number ({value!r:.40})")
    # pycocotools would read 4 numbers as a box
    if len(polygon) < 6 or len(polygon) % 2:
        raise MaskError(f"polygon of {len(polygon)} numbers, expected x, y of at least 3 points")
    try:
        points = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    except OverflowError as error:
        raise MaskError("polygon with a coordinate that is not finite") from error
    if not np.isfinite(points).all():
        raise MaskError("polygon with a coordinate that is not finite")
    if not ((points.max(axis=0) > 0).all() and (points.min(axis=0) < (width, height)).all()):
        raise MaskError(f"mask entirely outside its picture of {width} x {height} px")
    return points

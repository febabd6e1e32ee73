"""The shapes of LabelMe as masks."""

from __future__ import annotations

import base64
import binascii
import io
from typing import Any

import numpy as np
from PIL import Image

from sa2va_native.datasets.reading.mask_codec import MaskError, decode_mask

#: Kinds whose points are an outline. LabelMe writes ``oriented_rectangle``, tools that use its format the last two.
_OUTLINES = ("polygon", "rectangle", "oriented_rectangle", "rotation", "quadrilateral")
#: Kinds that are often drawn around an object rather than along its outline.
BOXES = ("rectangle", "oriented_rectangle", "rotation", "circle")
_BY_TWO_POINTS = ("circle", "mask")
_WITHOUT_AREA = ("point", "points", "line", "linestrip")


def shape_mask(shape: Any, height: int, width: int) -> np.ndarray:
    """One shape as bool (height, width).

    Raises:
        MaskError: a shape without area or of an unknown kind, invalid points, or a mask without a pixel in the picture.
    """
    if not isinstance(shape, dict):
        raise MaskError(f"a {type(shape).__name__}, expected a shape")
    kind = shape.get("shape_type") or "polygon"
    try:
        points = np.array(shape.get("points"), dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise MaskError(f"points that are not numbers ({error})") from error
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise MaskError("points are not a list of x, y")
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    if kind in _OUTLINES:
        return decode_mask([points.ravel().tolist()], height, width)
    if kind == "circle" and len(points) == 2:
        y, x = np.ogrid[0:height, 0:width]
        (centre_x, centre_y), edge = points[0], points[1]
        mask = (x + 0.5 - centre_x) ** 2 + (y + 0.5 - centre_y) ** 2 <= ((edge - points[0]) ** 2).sum()
    elif kind == "mask" and len(points) == 2:
        mask = _pasted(shape.get("mask"), points, height, width)
    elif kind in _WITHOUT_AREA:
        raise MaskError(f"a {kind} of {len(points)} points has no area")
    elif kind in _BY_TWO_POINTS:
        raise MaskError(f"a {kind} of {len(points)} points, expected 2")
    else:
        known = ", ".join((*_OUTLINES, *_BY_TWO_POINTS, *_WITHOUT_AREA))
        raise MaskError(f"shape_type {kind!r:.80} is unknown; known are {known}")
    if not mask.any():
        raise MaskError("empty mask: it covers no pixel")
    return mask


def _pasted(code: Any, points: np.ndarray, height: int, width: int) -> np.ndarray:
    """A base64 PNG, placed at the upper left of its box."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(code, validate=True)), formats=("PNG",)) as picture:
            if picture.width > width or picture.height > height:
                raise MaskError(f"mask of {picture.width} x {picture.height} px in a picture of {width} x {height} px")
            part = np.asarray(picture.convert("L")) > 0
    except (TypeError, ValueError, binascii.Error, OSError, SyntaxError) as error:
        if isinstance(error, MaskError):
            raise
        raise MaskError(f"mask cannot be read ({error})") from error
    left, top = points.min(axis=0).round().astype(int)
    if left < 0 or top < 0 or left + part.shape[1] > width or top + part.shape[0] > height:
        raise MaskError("mask that extends beyond its picture")
    mask = np.zeros((height, width), bool)
    mask[top : top + part.shape[0], left : left + part.shape[1]] = part
    return mask

"""LabelMe -> own data."""

from __future__ import annotations

import base64
import binascii
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from sa2va_native.datasets.converters.convert import Converted
from sa2va_native.datasets.reading.files import FORMATS, inside, read_json
from sa2va_native.datasets.reading.mask_codec import MaskError, decode_mask, encode_mask
from sa2va_native.errors import BadSample, DataError

_LYING = (5, 6, 7, 8)  # EXIF orientations that swap height and width


@dataclass
class LabelmeConverter:
    """Each shape of each json below ``root`` is a record; shapes with the same label and ``group_id`` are one object.

    Format: https://github.com/wkentaro/labelme. Polygons and rectangles are filled like COCO's polygons; a circle
    contains the pixels whose centre is inside; a ``mask`` is placed at the upper left of its box. Lines and points have
    no area; they are left out and reported. A ``rotation``, the rotated box of other tools that use this format, is
    filled as a polygon. Masks have the size stated in the file, which LabelMe takes after applying the picture's EXIF
    orientation; without one, they have the size of the picture.

    Raises:
        DataError: from ``sources``, if there is no json.
    """

    root: Path
    parallel = True

    def sources(self) -> Sequence[str]:
        """The json files, relative to the root."""
        names = sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*.json"))
        if not names:
            raise DataError(
                f"{self.root}: nothing to convert: no *.json in it or below. Give the folder with the pictures and "
                "the json files written by LabelMe."
            )
        return names

    def convert(self, source: str) -> Converted:
        file = self.root / source
        try:
            content = read_json(file, "Save it again in LabelMe.")
            picture = self._picture(content, file)
            height, width = _size(content, self.root / picture, file)
        except BadSample as bad:
            return Converted([], [bad])
        except DataError as error:
            return Converted([], [BadSample(str(file), "file", str(error))])
        objects: dict[tuple[Any, ...], tuple[dict[str, Any], np.ndarray]] = {}
        left_out = []
        shapes = content.get("shapes")
        for place, shape in enumerate(shapes if isinstance(shapes, list) else ()):
            record = f"shapes[{place}]"
            try:
                mask = shape_mask(shape, height, width)
            except MaskError as error:
                left_out.append(BadSample(str(file), record, str(error)))
                continue
            group = shape.get("group_id")
            key = (record,) if group is None else (str(shape.get("label")), str(group))
            entry = {"id": f"{source} {record}", "category": shape.get("label")}
            known = objects.get(key)
            objects[key] = (known[0], known[1] | mask) if known else (entry, mask)
        return Converted(
            [{"image": picture, "mask": encode_mask(mask), **entry} for entry, mask in objects.values()], left_out
        )

    def _picture(self, content: dict[str, Any], file: Path) -> str:
        name = content.get("imagePath")
        if not isinstance(name, str):
            raise BadSample(str(file), "file", "no 'imagePath'")
        path = file.parent / PureWindowsPath(name).as_posix()  # LabelMe may have written it on Windows
        relative = Path(os.path.relpath(path, self.root)).as_posix()
        inside(self.root, relative, file, "file")
        return relative


def shape_mask(shape: Any, height: int, width: int) -> np.ndarray:
    """One shape as bool (height, width).

    Raises:
        MaskError: a shape without area, invalid points, or a mask without a pixel in the picture.
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
    if kind in ("polygon", "rectangle", "rotation"):
        return decode_mask([points.ravel().tolist()], height, width)
    if kind == "circle" and len(points) == 2:
        y, x = np.mgrid[0:height, 0:width] + 0.5
        (centre_x, centre_y), edge = points[0], points[1]
        mask = (x - centre_x) ** 2 + (y - centre_y) ** 2 <= ((edge - points[0]) ** 2).sum()
    elif kind == "mask" and len(points) == 2:
        mask = _pasted(shape.get("mask"), points, height, width)
    else:
        raise MaskError(f"a {kind} of {len(points)} points has no area")
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


def _size(content: dict[str, Any], picture: Path, file: Path) -> tuple[int, int]:
    """(height, width) in px that the points refer to."""
    keys = ("imageHeight", "imageWidth")
    if any(content.get(key) is None for key in keys):
        return _shown_size(picture, file)
    height, width = (_extent(content, key, file) for key in keys)
    return height, width


def _shown_size(picture: Path, file: Path) -> tuple[int, int]:
    """(height, width) of a picture in px after its EXIF orientation, read from the header."""
    try:
        with Image.open(picture, formats=FORMATS) as opened:
            width, height = opened.size
            lies = opened.getexif().get(ExifTags.Base.Orientation) in _LYING
    except Exception as error:  # on broken bytes Pillow raises nearly anything, as in read_picture
        why = f"no imageHeight and imageWidth, and its picture is unreadable ({type(error).__name__}: {error})"
        raise BadSample(str(file), "file", why) from error
    return (width, height) if lies else (height, width)


def _extent(content: dict[str, Any], key: str, file: Path) -> int:
    value = content.get(key)
    if not isinstance(value, int) or not 0 < value < 1 << 16:
        raise BadSample(str(file), "file", f"{key} is {value!r}")
    return value

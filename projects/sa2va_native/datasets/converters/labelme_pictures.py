"""The picture that a json of LabelMe belongs to: as it is named, moved beside the json, or inside it."""

from __future__ import annotations

import base64
import io
import os
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import Any

from PIL import Image

from sa2va_native.datasets.converters.twin_folders import size_of
from sa2va_native.datasets.reading.files import FORMATS, MAX_IMAGE_PIXELS, inside, namesake
from sa2va_native.datasets.reading.numbers import as_whole
from sa2va_native.errors import BadSample
from sa2va_native.files.atomic import atomic_write


def picture_of(content: dict[str, Any], file: Path, root: Path) -> str:
    """The picture of a json, relative to the root, which it does not leave.

    It is the one that ``imagePath`` names; else one of that name beside the json, if it has the stated size; else the
    one in ``imageData``, which is written beside the json as ``{json}.embedded.jpg`` (or what it is).

    Args:
        content: of the json.
        file: the json.

    Raises:
        BadSample: none of these; the reason says where a file of that name lies.
    """
    name = content.get("imagePath")
    if not isinstance(name, str) or not name:
        if embedded := _embedded(content, file, root):
            return embedded
        raise BadSample(str(file), "file", "no 'imagePath'")
    written = PureWindowsPath(name).as_posix()  # LabelMe may have written it on Windows
    try:
        return _inside(root, file.parent / written, file)
    except BadSample as missing:
        if (there := _beside(content, file, root)) or (there := _embedded(content, file, root)):
            return there
        elsewhere = namesake(name, file.parent)
        hint = f"; a file of that name lies at {elsewhere}: move it, or correct imagePath" if elsewhere else ""
        raise BadSample(missing.path, missing.record, missing.reason + hint) from None


def _inside(root: Path, picture: Path, file: Path) -> str:
    relative = Path(os.path.relpath(picture, root)).as_posix()
    inside(root, relative, file, "file")
    return relative


def _beside(content: dict[str, Any], file: Path, root: Path) -> str | None:
    """A picture of the name beside the json, unless it has another size than the json states."""
    picture = file.parent / PureWindowsPath(content["imagePath"]).name
    with suppress(BadSample):
        relative = _inside(root, picture, file)
        if stated_size(content, picture, file) == _shown_size(picture, file):
            return relative
    return None


def _embedded(content: dict[str, Any], file: Path, root: Path) -> str | None:
    """Writes the picture inside the json beside it; None if there is none.

    Raises:
        BadSample: it is no picture, or cannot be written.
    """
    code = content.get("imageData")
    if not isinstance(code, str) or not code:
        return None
    try:
        encoded = base64.b64decode(code, validate=True)
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as picture:
            suffix = {"JPEG": ".jpg", "JPEG2000": ".jp2"}.get(str(picture.format), f".{picture.format}".lower())
        written = file.with_name(f"{file.stem}.embedded{suffix}")
        with atomic_write(written) as unfinished:
            unfinished.write_bytes(encoded)
    except Exception as error:  # on broken bytes Pillow raises nearly anything, as in read_picture
        reason = f"its imageData cannot be read or written beside it ({type(error).__name__}: {error})"
        raise BadSample(str(file), "file", reason) from error
    return Path(os.path.relpath(written, root)).as_posix()


def stated_size(content: dict[str, Any], picture: Path, file: Path) -> tuple[int, int]:
    """(height, width) in px that the points refer to: what the file states, else its picture's.

    Raises:
        BadSample: neither is known, or it is impossible.
    """
    keys = ("imageHeight", "imageWidth")
    if any(content.get(key) is None for key in keys):
        return _shown_size(picture, file)
    height, width = (_extent(content, key, file) for key in keys)
    if height * width > MAX_IMAGE_PIXELS:
        raise BadSample(str(file), "file", f"{width} x {height} px is above {MAX_IMAGE_PIXELS} px")
    return height, width


def _shown_size(picture: Path, file: Path) -> tuple[int, int]:
    return size_of(picture, file, "file", turned=True, why="no imageHeight and imageWidth, and ")


def _extent(content: dict[str, Any], key: str, file: Path) -> int:
    value = as_whole(content.get(key))
    if value is None or not 0 < value < 1 << 16:
        raise BadSample(str(file), "file", f"{key} is {content.get(key)!r:.80}")
    return value

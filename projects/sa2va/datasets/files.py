"""Reading pictures and JSON: each failure is one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from projects.sa2va.errors import BadSample, DataError

#: Larger pictures are refused before they are decoded: a small file can unpack to many GB.
MAX_IMAGE_PIXELS = 100_000_000


def read_picture(path: Path, record: str) -> np.ndarray:
    """A picture file as uint8 RGB (H, W, 3).

    EXIF orientation is not applied: COCO's annotations refer to the pixels as they are stored.

    Args:
        record: what asks for it, e.g. ``"annotation 17"``; goes into the error.

    Raises:
        BadSample: missing, not a picture, truncated, or more than ``MAX_IMAGE_PIXELS``.
    """
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            if width * height > MAX_IMAGE_PIXELS:
                raise BadSample(str(path), record, f"{width} x {height} px is above {MAX_IMAGE_PIXELS} px")
            return np.array(picture.convert("RGB"))
    # SyntaxError and ValueError are what pillow's decoders raise on some broken files
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadSample(str(path), record, f"unreadable picture ({type(error).__name__}: {error})") from error


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        DataError: missing, not JSON, or not an object; ends with ``remedy``.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file. {remedy}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not JSON ({error}). {remedy}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected an object. {remedy}")
    return content


def require_folder(path: Path, remedy: str) -> Path:
    """``path``, if it is a folder that holds something.

    Raises:
        DataError: missing or empty; ends with ``remedy``.
    """
    if not path.is_dir():
        raise DataError(f"{path}: no such folder. {remedy}")
    if not any(path.iterdir()):
        raise DataError(f"{path}: the folder is empty. {remedy}")
    return path

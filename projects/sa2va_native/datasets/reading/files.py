"""Reads pictures, masks and JSON; each fault is repaired or refused by a stated rule.

==================================  ==================================================================================
found                               result
==================================  ==================================================================================
grey, 1-bit, palette, CMYK          converted to RGB
16-bit grey                         the high byte is used, as Pillow does for 16-bit RGB
32-bit and float                    refused: there is no agreed range
alpha, or a transparent colour      laid over white, as viewers show it
EXIF orientation                    ignored, unless only the rotated picture has the annotated size
size differs from the annotation    refused
truncated, empty, not a picture     refused; nothing is guessed
several frames (GIF, TIFF)          the first is used
more pixels than ``max_pixels``     refused before decoding: a small file can unpack to many GB
a format not in ``FORMATS``         refused; EPS, for example, would start Ghostscript
a path that leaves its folder       refused, whether by ``..``, an absolute path or a symbolic link
a loop of symbolic links            refused
a name in another Unicode form      the file is found (macOS writes NFD, most others NFC)
a URL (``coco_url``)                its last two parts, then its last one, are looked for
==================================  ==================================================================================
"""

from __future__ import annotations

import errno
import os
import stat
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import numpy as np
from PIL import Image, ImageOps

from sa2va_native.errors import BadSample, DataError
from sa2va_native.files.bounded_json import load_json, machine_memory, read_bounded

#: Default of ``max_pixels``. Pillow itself refuses above twice ``PIL.Image.MAX_IMAGE_PIXELS``, i.e. 179 million.
MAX_IMAGE_PIXELS = 100_000_000
#: A caption of several paragraphs is shorter. All samples of a batch are padded to the longest.
MAX_TEXT_CHARACTERS = 4_000
#: Formats that Pillow may open, whatever the file's suffix.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM", "TIFF", "JPEG2000")
#: The reason for what is no file.
_SPECIAL = "unreadable (a pipe, a socket or a device)"


def read_picture(
    path: Path | BinaryIO, record: str, expected_size: tuple[int, int] | None = None, max_pixels: int = MAX_IMAGE_PIXELS
) -> np.ndarray:
    """A picture file as uint8 RGB (H, W, 3), by the rules above.

    Args:
        path: path, or an open file whose ``str`` names it.
        record: the record that refers to it, e.g. ``"annotation 17"``; for the error.
        expected_size: (height, width) in px stated by the annotation; None if it is not stated. It may be the size as
            stored, as in COCO, or the size after applying the EXIF orientation, as in LabelMe.
        max_pixels: largest picture that is decoded.

    Raises:
        BadSample: missing, not a picture, truncated, too large, or not of ``expected_size``.
    """
    picture = _open(path, record, max_pixels)
    if expected_size is not None and picture.size != expected_size[::-1]:
        picture = _turned(picture, path, record, expected_size)
    return _rgb_of_file(picture, path, record)


def read_upright(path: Path, record: str, max_pixels: int = MAX_IMAGE_PIXELS) -> np.ndarray:
    """A picture file as viewers show it, i.e. with its EXIF orientation, as uint8 RGB (H, W, 3).

    Raises:
        BadSample: as :func:`read_picture`.
    """
    return _rgb_of_file(_upright(_open(path, record, max_pixels)), path, record)


def _rgb_of_file(picture: Image.Image, path: Path | BinaryIO, record: str) -> np.ndarray:
    try:
        return rgb_pixels(picture)
    except ValueError as error:
        raise BadSample(str(path), record, str(error)) from error


def rgb_pixels(picture: Image.Image) -> np.ndarray:
    """A decoded picture as uint8 RGB (H, W, 3), by the rules above.

    Raises:
        ValueError: 32-bit or float.
    """
    if picture.mode in ("I", "F"):
        raise ValueError(f"picture of mode {picture.mode}, whose range is not known; save it with 8 or 16 bits")
    if picture.mode.startswith("I;16"):
        high = (np.asarray(picture) >> 8).astype(np.uint8)
        return np.repeat(high[..., None], 3, axis=2)
    if picture.has_transparency_data:
        return over_white(picture)
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def over_white(picture: Image.Image) -> np.ndarray:
    """A picture with transparency as uint8 RGB (H, W, 3), as viewers show it."""
    shown = picture.convert("RGBA")
    return np.array(Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown).convert("RGB"))


def read_mask(path: Path, record: str, max_pixels: int = MAX_IMAGE_PIXELS) -> np.ndarray:
    """A mask file of one object as bool (H, W): 0, black or transparent is outside, one other value is the object.

    Raises:
        BadSample: unreadable, empty, or with several values besides 0. It then holds several objects, or soft or
            JPEG-smeared edges, and it is unclear which pixels are meant. Of a palette picture the indices count, not
            the colours; one whose colours say the opposite is refused.
    """
    picture = _open(path, record, max_pixels)
    values = _values(picture)
    different = np.unique(values[values != 0])
    if not len(different):
        raise BadSample(str(path), record, "empty mask: it covers no pixel")
    if len(different) > 1:
        raise BadSample(
            str(path), record, f"mask with {len(different)} values besides 0; write one object per file, 0 outside it"
        )
    if picture.mode == "P" and _is_inverted(picture, values):
        raise BadSample(str(path), record, f"mask with {len(different)} values besides 0, which is not the black one")
    return values != 0


def _values(picture: Image.Image) -> np.ndarray:
    """One number per pixel (H, W), 0 where it is black or transparent; the index for a palette picture."""
    pixels = np.asarray(picture)
    if pixels.ndim == 2:
        return pixels
    pixels = np.asarray(picture.convert("RGBA"))
    return np.where(_shows(pixels), np.ascontiguousarray(pixels).view(np.uint32)[..., 0], 0)


def _is_inverted(picture: Image.Image, values: np.ndarray) -> bool:
    """Whether the colours and the indices of a palette picture disagree about what is outside the object."""
    shown = _shows(np.asarray(picture.convert("RGBA")))
    return bool(shown.any() and not shown.all() and (shown != (values != 0)).any())


def _shows(pixels: np.ndarray) -> np.ndarray:
    """Which pixels of an RGBA picture (H, W, 4) are neither black nor transparent."""
    shown: np.ndarray = pixels[..., :3].any(axis=2) & (pixels[..., 3] > 0)
    return shown


def read_labels(path: Path, record: str, max_pixels: int = MAX_IMAGE_PIXELS) -> np.ndarray:
    """A label picture as integers (H, W): palette indices (not colours), or grey values.

    Raises:
        BadSample: unreadable, or with several channels.
    """
    labels = np.asarray(_open(path, record, max_pixels))
    if labels.ndim != 2 or labels.dtype.kind not in "uib":
        raise BadSample(str(path), record, f"labels of shape {labels.shape}, expected one channel of whole numbers")
    return labels


def inside(root: Path, name: Any, source: str | Path, record: str) -> Path:
    """The file ``name`` below ``root``, with symbolic links followed.

    The root may itself be a link; what counts is the final location of the file.

    Args:
        name: the path given by a record, relative or absolute. If there is no such file, other Unicode forms and
            backslashes for slashes are tried, and of a URL the last two parts and the last one.
        source: the file of the record, for the error.

    Raises:
        BadSample: not a string, missing, not a regular file, outside ``root``, or a loop of links.
    """
    if not isinstance(name, str) or not name:
        raise BadSample(str(source), record, f"{name!r:.80} is not the path of a file")
    try:
        name.encode()  # half a surrogate pair cannot be shown
        name = next((form for form in _spellings(name) if os.path.lexists(root / form)), name)
        real = os.path.realpath(root / name, strict=True)
    except FileNotFoundError:
        raise BadSample(str(root / name), record, "missing: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL, or half a surrogate pair
        loop = isinstance(error, OSError) and error.errno == errno.ELOOP
        why = "a loop of symbolic links" if loop else f"not a usable path ({error})"
        raise BadSample(str(source), record, f"{name!r:.200}: {why}") from error
    if not is_below(root, real):
        raise BadSample(str(source), record, f"{name!r} leads out of {root}, to {real!r}")
    if not os.path.isfile(real):
        raise BadSample(str(root / name), record, "missing: not a regular file")
    return root / name


def namesake(path: str | Path, near: Path, most: int = 20_000) -> Path | None:
    """A file with the name of a missing one, below a folder or below its parent; None if none is found.

    Args:
        path: the missing file, by any path or URL.
        near: the folder.
        most: entries that are looked at in each.
    """
    name = PurePosixPath(urlsplit(str(path)).path if "://" in str(path) else str(path).replace("\\", "/")).name
    for base in (near.absolute(), near.absolute().parent):
        left = most
        for folder, folders, files in os.walk(base):
            if name in files:
                return Path(folder, name)
            folders.sort()
            if (left := left - len(folders) - len(files)) < 0:
                break
    return None


def require_own(root: Path, path: Path, record: str) -> None:
    """Checks a file that was found below ``root`` before it is opened, links followed. A missing one, or a loop of
    links, is left to whoever reads it.

    Raises:
        BadSample: it lies elsewhere, or is no regular file: a pipe would never end.
    """
    try:
        real = os.path.realpath(path, strict=True)
    except (OSError, ValueError):
        return
    if not is_below(root, real):
        raise BadSample(str(path), record, f"'{path}' leads out of {root}, to {real!r}")
    if is_special(real):
        raise BadSample(str(path), record, _SPECIAL)


def is_below(root: Path, real: str) -> bool:
    """Whether a path without links is in a folder, which may be a link itself."""
    base = os.path.realpath(root)
    return os.path.commonpath((real, base)) == base


def is_special(path: str | Path) -> bool:
    """Whether it is a pipe, a socket or a device, or a link to one: opening it may block for ever."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def usable_text(text: Any, source: str | Path, record: str) -> str:
    """Checks that a text can be tokenized, and returns it.

    Raises:
        BadSample: not a string, blank, longer than ``MAX_TEXT_CHARACTERS``, or with half a surrogate pair.
    """
    if not isinstance(text, str):
        raise BadSample(str(source), record, f"text is a {type(text).__name__}, expected a string")
    if not text.strip():
        raise BadSample(str(source), record, "empty text")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise BadSample(str(source), record, f"text of {len(text)} characters, above {MAX_TEXT_CHARACTERS}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadSample(str(source), record, f"text that is not valid Unicode ({error})") from error
    return text


def read_json(path: Path, remedy: str, make_object: Callable[[list[tuple[str, Any]]], Any] = dict) -> dict[str, Any]:
    """A JSON object.

    Args:
        path: the file.
        remedy: ends the errors.
        make_object: makes an object from its pairs, which may contain a key twice.

    Raises:
        DataError: missing, not JSON, or not an object; the message ends with ``remedy``.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file. {remedy}")
    try:
        encoded = read_bounded(path, machine_memory())
    except OSError as error:
        raise DataError(f"{path}: unreadable ({error.strerror or error}). {remedy}") from error
    content = parse_json(encoded, path, remedy, make_object)
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected an object. {remedy}")
    return content


def parse_json(
    content: bytes,
    path: Path,
    remedy: str,
    make_object: Callable[[list[Any]], Any] = dict,
    most: int | None = None,
) -> Any:
    """JSON that may take ``most`` bytes of memory, by default the machine's; other arguments as in :func:`read_json`.

    Raises:
        DataError: not JSON, or too large; the message ends with ``remedy``.
    """
    try:
        return load_json(content, most or machine_memory(), None if make_object is dict else make_object)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}). {remedy}") from error


def require_folder(path: Path, remedy: str) -> Path:
    """``path``, if it is a folder that is not empty.

    Raises:
        DataError: missing or empty; the message ends with ``remedy``.
    """
    if not path.is_dir():
        raise DataError(f"{path}: no such folder. {remedy}")
    if not any(path.iterdir()):
        raise DataError(f"{path}: the folder is empty. {remedy}")
    return path


def _spellings(name: str) -> Iterator[str]:
    """A name as it is written, then as it may have been meant.

    Raises:
        ValueError: a URL that is none.
    """
    names = [name, name.replace("\\", "/")]  # as Windows writes paths
    if "://" in name:
        parts = [part for part in unquote(urlsplit(name).path).split("/") if part]
        names += ["/".join(parts[-2:]), *parts[-1:]]
    yield from names
    yield from (unicodedata.normalize(form, one) for one in names for form in ("NFC", "NFD"))


def _open(path: Path | BinaryIO, record: str, max_pixels: int) -> Image.Image:
    """A decoded picture; the file is closed."""
    if isinstance(path, Path) and is_special(path):
        raise BadSample(str(path), record, _SPECIAL)
    try:
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > max_pixels:
                raise BadSample(
                    str(path), record, f"{width} x {height} px is above {max_pixels} px; shrink it, or raise max_pixels"
                )
            picture.load()
            return picture
    except BadSample:
        raise
    except FileNotFoundError:
        raise BadSample(str(path), record, "missing: no such file") from None
    # on broken bytes Pillow's decoders raise nearly anything: OSError, SyntaxError, struct.error, IndexError, ...
    except Exception as error:
        raise BadSample(str(path), record, f"unreadable picture ({type(error).__name__}: {error})") from error


def _turned(picture: Image.Image, path: Path | BinaryIO, record: str, expected_size: tuple[int, int]) -> Image.Image:
    """The picture with its EXIF orientation applied, if it then has the expected size."""
    height, width = expected_size
    turned = _upright(picture)
    if turned.size == (width, height):
        return turned
    raise BadSample(
        str(path),
        record,
        f"picture of {picture.width} x {picture.height} px (width x height), annotated as {width} x {height} px",
    )


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # a broken EXIF block is ignored; Pillow raises nearly anything on it
        return picture

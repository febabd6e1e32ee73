"""Layouts whose labels lie in one folder and whose pictures, of the same names, in another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from mmengine.logging import print_log
from PIL import ExifTags, Image

from sa2va_native.datasets.finding.found_set import is_for_training
from sa2va_native.datasets.reading.files import FORMATS, inside
from sa2va_native.errors import BadSample, DataError, printable

_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".webp", ".bmp")
_LYING = (5, 6, 7, 8)  # EXIF orientations that swap height and width


def label_files(root: Path, folder: str, suffixes: Sequence[str], split: str | None) -> list[str]:
    """The files of folders of a name, at any depth below ``root``: ``labels/train/1.txt``, ``train/labels/1.txt``.

    Args:
        folder: their name.
        suffixes: of the files, in any case of letters.
        split: only files with this word among the folders of their path; None for all but those for validation or
            test by the name of a folder, which are logged, unless there are no others.

    Returns:
        Paths relative to the root, sorted.

    Raises:
        DataError: there are no files in the split.
    """
    found = sorted(
        path.relative_to(root)
        for path in root.rglob("*")
        if path.suffix.lower() in suffixes and folder in path.relative_to(root).parts
    )
    if split is not None:
        chosen = [path for path in found if split in path.parts[:-1]]
        if found and not chosen:
            raise DataError(f"{root}: no {folder}/**/*{suffixes[0]} in a folder {split!r}. Give another --split.")
        return [path.as_posix() for path in chosen]
    others = {path: part for path in found for part in path.parts[:-1] if not is_for_training(part)}
    training = [path for path in found if path not in others]
    if training and others:
        names = sorted(set(others.values()))
        message = (
            f"{root}: not converted, for validation or test by the name of a folder: {len(others):,} files in "
            f"{', '.join(names)}; --split {names[0]} takes those"
        )
        print_log(printable(message), logger="current")
    return [path.as_posix() for path in training or found]


def twin(root: Path, source: str, folder: str, pictures: str) -> str:
    """The picture of a label file, relative to the root.

    Args:
        source: the label file, relative to the root.
        folder: the last of its folders of this name becomes ``pictures``.

    Raises:
        BadSample: there is none.
    """
    parts = list(PurePosixPath(source).with_suffix("").parts)
    parts[len(parts) - 1 - parts[::-1].index(folder)] = pictures
    return picture_named(root, "/".join(parts), source)


def picture_named(root: Path, stem: str, record: str) -> str:
    """The picture of a name without its suffix, relative to the root.

    Raises:
        BadSample: there is none, or it leads out of the root.
    """
    there = [stem + suffix for suffix in _SUFFIXES if (root / (stem + suffix)).exists()]
    picture = (there or [f"{stem}.jpg"])[0]
    inside(root, picture, root / picture, record)
    return picture


def size_of(picture: Path, file: Path, record: str, turned: bool, why: str = "") -> tuple[int, int]:
    """(height, width) of a picture in px, read from its header.

    Args:
        picture: its path.
        file: the file of the record, for the error.
        turned: after its EXIF orientation, as viewers show it.
        why: begins the error.

    Raises:
        BadSample: unreadable.
    """
    try:
        with Image.open(picture, formats=FORMATS) as opened:
            width, height = opened.size
            lies = turned and opened.getexif().get(ExifTags.Base.Orientation) in _LYING
    except Exception as error:  # on broken bytes Pillow raises nearly anything, as in read_picture
        reason = f"{why}its picture is unreadable ({type(error).__name__}: {error})"
        raise BadSample(str(file), record, reason) from error
    return (width, height) if lies else (height, width)

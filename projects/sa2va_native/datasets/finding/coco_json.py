"""Recognises a COCO json and finds its pictures from its beginning alone: the file may have hundreds of MB."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from sa2va_native.datasets.reading.coco_file import require_masks
from sa2va_native.datasets.reading.files import inside, namesake, read_json
from sa2va_native.errors import BadSample, DataError

_BEGINNING = 1 << 20  # bytes; includes the first images of a COCO file, after licences and perhaps categories
_NAMES = 8  # number of pictures that are looked for
_KNOWN = re.compile(r'"(images|annotations)"\s*:\s*\[|"image"\s*:\s*["{]')  # whichever comes first
_PICTURE = '"%s"\\s*:\\s*("(?:[^"\\\\]|\\\\.)*")'
_EXPECTED = "Expected own data (a list, or one object per line) or COCO with the lists 'images' and 'annotations'."


def beginning(file: Path) -> str:
    """The first MB of a json as text, which includes the first images of a COCO file.

    Raises:
        DataError: unreadable, or not a regular file: a pipe would never end.
    """
    try:
        if not file.is_file():
            raise DataError(f"{file}: not a regular file. {_EXPECTED}")
        with file.open("rb") as opened:
            head = opened.read(_BEGINNING)
    except OSError as error:
        raise DataError(f"{file}: unreadable ({error.strerror}). {_EXPECTED}") from error
    return head.decode("utf-8", "ignore").removeprefix("\ufeff").lstrip()


def is_coco(file: Path) -> bool:
    """Whether a ``.json`` is one object with the lists ``images`` and ``annotations``, rather than own data.

    Raises:
        DataError: unreadable, or one object without these lists.
    """
    text = beginning(file)
    if not text.startswith("{"):
        return False
    try:
        first, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):  # it continues beyond what was read, or is broken
        if known := _KNOWN.search(text):
            return known[1] is not None
        first, end = read_json(file, _EXPECTED), len(text)
    if all(isinstance(first.get(key), list) for key in ("images", "annotations")):
        return True
    if isinstance(first.get("image"), str) or text[end:].strip():
        return False
    raise DataError(f"{file}: one object with {', '.join(map(repr, list(first)[:5])) or 'nothing'}. {_EXPECTED}")


def may_be_coco(file: Path) -> bool:
    """:func:`is_coco` for a file that may be anything."""
    try:
        return is_coco(file)
    except DataError:
        return False


def pictures_of(file: Path, folders: Sequence[Path], others: Sequence[Path]) -> Path:
    """The folder that the ``file_name`` entries of a COCO json are relative to.

    Args:
        file: the json.
        folders: where pictures usually are. The folder with most of the first few pictures is used.
        others: tried after ``folders``; they may contain other things too. If no folder has any of those pictures, the
            first of ``folders`` that exists is used, or else one of ``others`` that contains some picture.

    Raises:
        DataError: none of the folders exists, or the json is of another layout, which has no masks.
    """
    names, candidates = _file_names(file), list(dict.fromkeys((*folders, *others)))
    there = [sum(_is_below(folder, name, file) for name in names) for folder in candidates]
    if any(there):
        return candidates[there.index(max(there))]
    usual = [folder for folder in folders if folder.is_dir()]
    for folder in usual or others:
        if usual or any(folder.glob("*.jpg")) or any(folder.glob("*.png")):
            return folder
    require_masks(file)  # what another layout says about its pictures is of no use
    sought = f"{names[0]!r} in " if names else ""
    looked = ", ".join(map(str, candidates))
    elsewhere = namesake(names[0], candidates[-1]) if names else None
    where = f" A file of that name lies at {elsewhere}." if elsewhere else ""
    raise DataError(f"{file}: no pictures for its annotations: looked for {sought}the folders {looked}.{where}")


def _file_names(file: Path) -> list[str]:
    """The first few of the pictures in the file's beginning."""
    text = beginning(file)
    for key in ("file_name", "coco_url"):  # LVIS has the second alone
        found: dict[str, None] = {}
        for match in re.finditer(_PICTURE % key, text):
            try:
                found[json.loads(match[1])] = None
            except ValueError:
                continue  # not JSON; the reader of the file reports it
            if len(found) == _NAMES:
                break
        if found:
            return list(found)
    return []


def _is_below(folder: Path, name: str, file: Path) -> bool:
    try:
        inside(folder, name, file, "")
    except BadSample:
        return False
    return True

"""What a json is and where its pictures lie, told by its beginning: a file of COCO may have hundreds of MB."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from sa2va_native.datasets.reading.files import inside, read_json
from sa2va_native.errors import BadSample, DataError

_BEGINNING = 1 << 20  # bytes; the first images of COCO stand in it, behind licences and perhaps categories
_NAMES = 8  # pictures that are looked for
_KNOWN = re.compile(r'"(images|annotations)"\s*:\s*\[|"image"\s*:\s*["{]')  # whichever comes first
_FILE_NAME = re.compile(r'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')
_EXPECTED = (
    "Expected own data, which is a list or one object a line, or COCO with the lists 'images' and 'annotations'."
)


def is_coco(file: Path) -> bool:
    """Whether a ``.json`` is one object with the lists ``images`` and ``annotations``, not records of own data.

    Raises:
        DataError: unreadable, or one object that is neither.
    """
    text = _beginning(file)
    if not text.startswith("{"):
        return False
    try:
        first, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):  # it goes on behind what was read, or is broken
        if known := _KNOWN.search(text):
            return known[1] is not None
        first, end = read_json(file, _EXPECTED), len(text)
    if all(isinstance(first.get(key), list) for key in ("images", "annotations")):
        return True
    if isinstance(first.get("image"), str) or text[end:].strip():
        return False
    raise DataError(f"{file}: one object of {', '.join(map(repr, list(first)[:5])) or 'nothing'}. {_EXPECTED}")


def may_be_coco(file: Path) -> bool:
    """:func:`is_coco` of a file that may be anything else as well."""
    try:
        return is_coco(file)
    except DataError:
        return False


def pictures_of(file: Path, folders: Sequence[Path], others: Sequence[Path]) -> Path:
    """The folder that the ``file_name`` of a COCO json are relative to.

    Args:
        file: the json.
        folders: where pictures usually are. The first that holds most of the first few is taken.
        others: looked at behind them. Folders that hold other things as well: without any of those pictures the first
            of ``folders`` that exists is taken, and one of these only if it holds some picture.

    Raises:
        DataError: none of the folders is there.
    """
    names, candidates = _file_names(file), list(dict.fromkeys((*folders, *others)))
    there = [sum(_is_below(folder, name, file) for name in names) for folder in candidates]
    if any(there):
        return candidates[there.index(max(there))]
    usual = [folder for folder in folders if folder.is_dir()]
    for folder in usual or others:
        if usual or any(folder.glob("*.jpg")) or any(folder.glob("*.png")):
            return folder
    sought = f"{names[0]!r} in " if names else ""
    looked = ", ".join(map(str, candidates))
    raise DataError(f"{file}: no pictures for its annotations: looked for {sought}the folders {looked}.")


def _beginning(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            head = opened.read(_BEGINNING)
    except OSError as error:
        raise DataError(f"{file}: unreadable ({error.strerror}). {_EXPECTED}") from error
    return head.decode("utf-8", "ignore").removeprefix("\ufeff").lstrip()


def _file_names(file: Path) -> list[str]:
    """The first few, of all or of the beginning's."""
    found: dict[str, None] = {}
    for match in _FILE_NAME.finditer(_beginning(file)):
        try:
            found[json.loads(match[1])] = None
        except ValueError:
            continue  # no JSON; the reader of the file says so
        if len(found) == _NAMES:
            break
    return list(found)


def _is_below(folder: Path, name: str, file: Path) -> bool:
    try:
        inside(folder, name, file, "")
    except BadSample:
        return False
    return True

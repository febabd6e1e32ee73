"""Lists a tree of files as parts of an index."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from projects.sa2va.datasets.indexing.index import Entry, Part
from projects.sa2va.errors import BadSample

#: What a killed build reads again, at most.
_FILES_PER_PART = 5_000

#: Folder and file names in it -> what they hold.
ReadFiles = Callable[[Path, list[str]], Iterator[Entry]]


def file_parts(root: Path, suffix: str, read: ReadFiles) -> Iterator[Part]:
    """The files below ``root`` that end in ``suffix`` as parts of at most 5,000 files of one folder.

    Args:
        read: gives the records of some files of one folder; must be the same function of its arguments on every call.
    """
    for folder, names, bad in walk(root, suffix):
        yield folder_part(root, folder, suffix, bad)
        for first in range(0, len(names), _FILES_PER_PART):
            chunk = names[first : first + _FILES_PER_PART]
            name = f"{_shown(folder.relative_to(root).as_posix())} *{suffix} {first}"
            yield Part(name, (folder,), functools.partial(read, folder, chunk))


def folder_part(root: Path, folder: Path, suffix: str, bad: list[BadSample]) -> Part:
    """A part without good records: for a folder to be watched."""
    return Part(f"{_shown(folder.relative_to(root).as_posix())} *{suffix}", (folder,), functools.partial(iter, bad))


def walk(root: Path, suffix: str) -> Iterator[tuple[Path, list[str], list[BadSample]]]:
    """Every folder from ``root`` on with its files that end in ``suffix``, both in the order of their names.

    Links to folders are followed, a folder that was already met is not entered again. Hidden files and folders are left
    out. Memory grows with the largest folder, not with the set.

    Yields:
        folder, names of its files, and a ``BadSample`` for each name that cannot be written as UTF-8, or one for a
        folder that cannot be read.
    """
    met: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in met:
            continue
        met.add((status.st_dev, status.st_ino))
        try:
            with os.scandir(folder) as entries:
                shown = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            yield folder, [], [BadSample(str(folder), "folder", f"unreadable ({error.strerror})")]
            continue
        folders = {entry.path for entry in shown if _is_folder(entry)}
        waiting += sorted(map(Path, folders), reverse=True)
        paths = sorted(entry.path for entry in shown if entry.name.endswith(suffix) and entry.path not in folders)
        names = [os.path.basename(path) for path in paths if path == _shown(path)]
        odd = (_shown(path) for path in paths if path != _shown(path))
        yield folder, names, [BadSample(path, "file", "its name is not UTF-8; rename it") for path in odd]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: whoever reads the file will say so
        return False


def _shown(name: str) -> str:
    """A name that can be written as UTF-8; Linux allows any bytes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")

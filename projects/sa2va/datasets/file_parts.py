"""Lists a tree of files as parts of an index."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from projects.sa2va.datasets.index import Entry, Part
from projects.sa2va.errors import BadSample

#: Files of one part: what a killed build reads again, at most.
_FILES_PER_PART = 5_000

#: Folder and file names in it -> what they hold.
ReadFiles = Callable[[Path, list[str]], Iterator[Entry]]


def file_parts(root: Path, suffix: str, read: ReadFiles) -> Iterator[Part]:
    """The files below ``root`` that end in ``suffix``, folder by folder, in the order of their names.

    Links to folders are followed, a folder that was already met is not entered again. Hidden files and folders are left
    out. Memory grows with the largest folder, not with the set.

    Args:
        read: gives the records of some files of one folder; must be the same function of its arguments on every call.

    Yields:
        parts of at most 5,000 files, and one without files for each folder with none, so that every folder is watched.
    """
    met: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in met:
            continue
        met.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
        names = sorted(entry.name for entry in shown if entry.name.endswith(suffix) and not entry.is_dir())
        waiting += sorted((Path(entry.path) for entry in shown if entry.is_dir()), reverse=True)
        inside = folder.relative_to(root).as_posix()
        for first in range(0, max(len(names), 1), _FILES_PER_PART):
            chunk = names[first : first + _FILES_PER_PART]
            name = f"{inside} *{suffix} {first // _FILES_PER_PART}"
            yield Part(_shown(name), (folder,), functools.partial(_read, folder, chunk, read))


def _read(folder: Path, names: list[str], read: ReadFiles) -> Iterator[Entry]:
    good = []
    for name in names:
        if (path := str(folder / name)) == _shown(path):
            good.append(name)
        else:
            yield BadSample(_shown(path), "file", "its name is not UTF-8; rename it")
    yield from read(folder, good)


def _shown(name: str) -> str:
    """A name that can be written as UTF-8; Linux allows any bytes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")

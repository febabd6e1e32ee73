"""Lists a tree of files as parts of an index."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from sa2va_native.datasets.indexing.index import Entry, Part
from sa2va_native.datasets.reading.files import require_own
from sa2va_native.datasets.reading.unchanged import Stamp, stamp
from sa2va_native.errors import BadSample

#: Files per part: what a killed build has to read again, at most.
_FILES_PER_PART = 5_000


class Folder(NamedTuple):
    """A folder of a set."""

    path: Path
    names: list[str]  #: of its files
    bad: list[BadSample]  #: one for each name that is not UTF-8, or one for a folder that cannot be read
    stamp: Stamp  #: taken before listing, so that a file added meanwhile changes it


#: Folder and names of files in it -> their records.
ReadFiles = Callable[[Path, list[str]], Iterator[Entry]]


def file_parts(root: Path, suffix: str, read: ReadFiles) -> Iterator[Part]:
    """The files below ``root`` that end in ``suffix``, as parts of at most 5,000 files from one folder.

    Args:
        read: yields the records of some files of one folder; must return the same for the same arguments.
    """
    for folder in walk(root, suffix):
        part = folder_part(root, folder, suffix)
        yield part
        for first in range(0, len(folder.names), _FILES_PER_PART):
            chunk = folder.names[first : first + _FILES_PER_PART]
            yield part._replace(name=f"{part.name} {first}", read=functools.partial(read, folder.path, chunk))


def folder_part(root: Path, folder: Folder, suffix: str) -> Part:
    """A part without good records, so that a folder is watched."""
    name = f"{_shown(folder.path.relative_to(root).as_posix())} *{suffix}"
    return Part(name, {folder.path: folder.stamp}, functools.partial(iter, folder.bad))


def walk(root: Path, suffix: str) -> Iterator[Folder]:
    """Every folder from ``root`` down with its files that end in ``suffix``, both sorted by name.

    Links are followed, but no folder is entered twice, and a link that leads out of ``root`` is one bad sample, as is a
    pipe or a device. Hidden files and folders are left out. Memory grows with the largest folder, not with the set.
    """
    met: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in met:
            continue
        met.add((status.st_dev, status.st_ino))
        before = stamp(folder)
        try:
            with os.scandir(folder) as entries:
                shown = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            yield Folder(folder, [], [BadSample(str(folder), "folder", f"unreadable ({error.strerror})")], before)
            continue
        names, bad, folders = [], [], []
        for entry in sorted(shown, key=lambda entry: entry.path):
            is_folder = _is_folder(entry)
            if not is_folder and not entry.name.endswith(suffix):
                continue
            if fault := _fault(root, entry, "folder" if is_folder else "file"):
                bad.append(fault)
            elif is_folder:
                folders.append(Path(entry.path))
            elif entry.path != _shown(entry.path):
                bad.append(BadSample(_shown(entry.path), "file", "its name is not UTF-8; rename it"))
            else:
                names.append(entry.name)
        waiting += reversed(folders)
        yield Folder(folder, names, bad, before)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: reported when the file is read
        return False


def _fault(root: Path, entry: os.DirEntry[str], record: str) -> BadSample | None:
    """Why an entry is not entered or opened; a dangling link is reported when it is read."""
    if not entry.is_file(follow_symlinks=False) and not entry.is_dir(follow_symlinks=False):
        try:
            require_own(root, Path(entry.path), record)
        except BadSample as error:
            return error
    return None


def _shown(name: str) -> str:
    """A name that can be written as UTF-8; Linux allows any bytes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")

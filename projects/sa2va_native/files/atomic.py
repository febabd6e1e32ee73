"""Files and folders that are there when they are complete, or not at all; and room for them before the work begins.

What is written goes under a name that nobody reads and is renamed when all of it is there. A process killed at any
moment leaves something ending in :data:`INCOMPLETE` and no half-written result.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from sa2va_native.errors import ConfigError

#: Suffix of what is being written. Whoever looks for results passes it over.
INCOMPLETE = ".incomplete"


@contextlib.contextmanager
def atomic_write(final: Path, durable: bool = False, replace: bool = True) -> Iterator[Path]:
    """A path beside ``final`` to write a file to, or to make a folder at; named ``final`` when all is written.

    After an error it is deleted.

    Args:
        final: the file or folder.
        durable, replace: see :func:`publish`.
    """
    unfinished = unfinished_name(final)
    try:
        yield unfinished
        publish(unfinished, final, durable, replace)
    finally:
        discard(unfinished)


def unfinished_name(final: Path) -> Path:
    """A hidden name beside ``final``. No two writers get the same, on whichever machines that share the folder."""
    return final.with_name(f".{final.name}.{uuid4().hex}{INCOMPLETE}")


def publish(unfinished: Path, final: Path, durable: bool = False, replace: bool = True) -> None:
    """Gives a fully written file or folder its final name, in one rename.

    Args:
        unfinished: beside ``final``, i.e. on the same file system.
        final: where it belongs.
        durable: flush to disk before the rename and the rename after it, so that a power failure cannot leave an empty
            file under the final name.
        replace: whether a folder takes the place of another one that is not empty. A file always replaces a file.

    Raises:
        OSError: not ``replace``, and the folder is there; or the file system refuses.
    """
    if durable:
        for path in [*sorted(unfinished.rglob("*")), unfinished] if unfinished.is_dir() else [unfinished]:
            _flush(path)
    if replace and final.is_dir():  # a folder cannot be renamed onto another one
        replaced = unfinished_name(final)
        final.rename(replaced)
        try:
            unfinished.rename(final)
        except OSError:
            with contextlib.suppress(OSError):  # another writer was faster
                replaced.rename(final)
            raise
        discard(replaced)
    else:
        os.replace(unfinished, final)
    if durable:
        _flush(final.parent)


def discard(path: Path) -> None:
    """Deletes a file, a link, or a folder with all it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def discard_incomplete(folder: Path, pattern: str = "*") -> None:
    """Deletes what killed processes left half-written in a folder.

    Args:
        folder: may be missing.
        pattern: of the names, as :meth:`pathlib.Path.glob` takes it, without the suffix.
    """
    for leftover in folder.glob(f"{pattern}{INCOMPLETE}"):
        discard(leftover)


def hold(folder: Path, alone: bool = False) -> int | None:
    """Marks a folder as in use by this process; the mark ends with the process, however it ends.

    Args:
        folder: must exist.
        alone: refuse if another process holds it.

    Returns:
        a handle to close at the end; None if another process holds it, or this file system knows no locks.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
    except OSError:
        os.close(handle)
        return None
    return handle


def discard_unheld(folder: Path, pattern: str = ".*") -> None:
    """:func:`discard_incomplete` for folders that no living process holds."""
    for leftover in folder.glob(f"{pattern}{INCOMPLETE}"):
        with contextlib.suppress(OSError):
            if (handle := hold(leftover, alone=True)) is not None:
                discard(leftover)
                os.close(handle)


def make_room(file: Path, option: str) -> None:
    """Creates the folder of a file that will be written, and checks that the file can be written.

    Args:
        option: the option that named the file, e.g. ``"--out"``; for the error.

    Raises:
        ConfigError: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            file.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=file.parent).close()
    except OSError as error:
        raise ConfigError(f"{option} {file} cannot be written ({error.strerror}). Give another file.") from error


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

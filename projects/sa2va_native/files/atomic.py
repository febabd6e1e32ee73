"""Files that are there when they are complete, or not at all; and room for them before the work begins."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from sa2va_native.errors import ConfigError


@contextlib.contextmanager
def atomic_write(file: Path) -> Iterator[Path]:
    """A hidden path beside ``file`` to write to, that gets the name ``file`` when all is written.

    No two writers have the same one, on whichever machines that share the folder.
    """
    unfinished = file.with_name(f".{file.name}.{uuid4().hex}.tmp")
    try:
        yield unfinished
        os.replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)


def make_room(file: Path, option: str) -> None:
    """Makes the folder of a file that will be written, and sees that it can be.

    Args:
        option: that named the file, e.g. ``"--out"``; for the error.

    Raises:
        ConfigError: it cannot.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            file.open("ab").close()
        else:
            tempfile.TemporaryFile(dir=file.parent).close()
    except OSError as error:
        raise ConfigError(f"{option} {file} cannot be written ({error.strerror}). Give another file.") from error

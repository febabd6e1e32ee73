"""Files that are there when they are complete, or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4


@contextlib.contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """A hidden path beside ``file`` to write to, that gets the name ``file`` when all is written.

    No two writers have the same one, on whichever machines that share the folder.
    """
    unfinished = file.with_name(f".{file.name}.{uuid4().hex}.tmp")
    try:
        yield unfinished
        os.replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)

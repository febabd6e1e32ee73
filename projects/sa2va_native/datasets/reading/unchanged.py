"""Shares the content of files that have not changed since they were read."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

Content = TypeVar("Content")
#: See :func:`stamp`.
Stamp = list[int] | None

_in_use: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()


def stamp(path: Path) -> Stamp:
    """A value that changes with a file, or with the names in a folder; None if there is none, or a link to itself."""
    try:
        status = path.stat()
    except OSError:
        return None
    # permission to read a folder can change while its time stays the same
    last = os.access(path, os.R_OK | os.X_OK) if path.is_dir() else status.st_size
    return [status.st_mtime_ns, last]


def shared(read: Callable[..., Content], path: Path, *arguments: Hashable) -> Content:
    """``read(path, *arguments)``, or its earlier result if that is still in use and the file is unchanged.

    Each split of a set has its own adapter, and most of them read the same file.
    """
    key = (read, path, *arguments, *(stamp(path) or ()))
    content = _in_use.get(key)
    if content is None:
        content = _in_use[key] = read(path, *arguments)
    return content

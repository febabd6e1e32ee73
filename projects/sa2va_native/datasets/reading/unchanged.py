"""Files that have not changed since they were read."""

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
    """What changes with a file or with the names in a folder; None where there is none, or a link to itself."""
    try:
        status = path.stat()
    except OSError:
        return None
    # that a folder may be read can change while its time stays as it is
    last = os.access(path, os.R_OK | os.X_OK) if path.is_dir() else status.st_size
    return [status.st_mtime_ns, last]


def shared(read: Callable[..., Content], path: Path, *arguments: Hashable) -> Content:
    """``read(path, *arguments)``, or what it gave before if somebody still uses that and the file is the same.

    The splits of a set are adapters of their own, and most of them read the same file.
    """
    key = (read, path, *arguments, *(stamp(path) or ()))
    content = _in_use.get(key)
    if content is None:
        content = _in_use[key] = read(path, *arguments)
    return content

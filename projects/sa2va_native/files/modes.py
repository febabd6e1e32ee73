"""The modes of files."""

from __future__ import annotations

import os
from pathlib import Path


def make_ordinary(file: Path) -> None:
    """Gives a file the mode of one that ``open`` makes; a temporary file that was renamed is its owner's alone."""
    mask = os.umask(0)
    os.umask(mask)
    file.chmod(0o666 & ~mask)

"""Reads JSON of untrusted files in bounded memory.

A few bytes can take a hundred as Python objects (``[],[],...``), and a sparse file of a few kB can claim to have
terabytes. So the size of the file and an estimate of the objects are compared with a bound before anything is parsed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Most bytes of memory for the JSON of one sample: a picture's, a video's, a line. SA-1B's take less than 50 MB.
SAMPLE_BYTES = 1 << 30
#: Bytes of memory for each of these characters, at most.
_PER_CHARACTER = {b"[": 72, b"{": 240, b",": 40}


def machine_memory() -> int:
    """The machine's memory in bytes, the most that the JSON of a whole set may take."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def read_bounded(path: Path, most: int = SAMPLE_BYTES) -> bytes:
    """The content of a file.

    Raises:
        OSError: unreadable, or larger than ``most`` bytes.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(f"{size} bytes, above {most}")
        return file.read(size)  # read(most) would make room for all of it


def load_json(
    content: bytes, most: int = SAMPLE_BYTES, make_object: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """JSON in UTF-8, with or without a byte order mark.

    Args:
        most: bytes of memory that the result may take.
        make_object: makes an object from its pairs, which may contain a key twice; None for a dict of the last ones.

    Raises:
        ValueError: not JSON, not UTF-8, a number with thousands of digits, or larger than ``most``.
        RecursionError: deeply nested brackets.
    """
    expected = len(content) * (1 if content.isascii() else 4)
    expected += sum(size * content.count(character) for character, size in _PER_CHARACTER.items())
    if expected > most:
        raise ValueError(f"it would take about {expected / 1e9:.1f} GB of memory, above {most / 1e9:.1f} GB")
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=make_object)  # three times as fast without one
    except MemoryError:
        raise ValueError("there is not enough memory for it") from None

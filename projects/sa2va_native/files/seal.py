"""Checksums that travel with what they are of, so that damage is found before anything is read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from sa2va_native.parallel.ordered_map import cores, ordered_map

_CHUNK = 1 << 21  # bytes: what a core's cache holds; part of what a checksum means


class Damaged(ValueError):
    """What is there is not what was written; the message goes on after the name of the file, e.g. "is truncated"."""


class Part(NamedTuple):
    """What a seal knows of some bytes."""

    size: int  #: in bytes
    checksum: str


class Seal(NamedTuple):
    """What was written, and its checksums."""

    about: dict[str, Any]  #: plain values, e.g. of which run it is
    parts: dict[str, Part]  #: by name, such as the path of a file in a folder

    def text(self) -> str:
        """As it is written, with a checksum of its own."""
        content = {"about": self.about, "parts": self.parts}
        return json.dumps({**content, "seal": _checksum_of_values(content)})


def parse_seal(text: str | bytes) -> Seal:
    """The inverse of :meth:`Seal.text`.

    Raises:
        Damaged: it is not what was written.
    """
    try:
        content = json.loads(text)
        written = content.pop("seal")
        seal = Seal(content["about"], {name: Part(*part) for name, part in content["parts"].items()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged("has a damaged seal") from error
    if written != _checksum_of_values(content):
        raise Damaged("has a seal that does not match its own checksum")
    return seal


def _checksum_of_values(content: Any) -> str:
    return xxhash.xxh3_128_hexdigest(json.dumps(content, sort_keys=True).encode())


def checksum(content: bytes | memoryview) -> Part:
    """Size and checksum of bytes, summed by chunks on all cores."""
    return Part(len(content), _combine(lambda start: content[start : start + _CHUNK], len(content)))


def file_checksum(path: Path, size: int | None = None) -> Part:
    """Those of the first ``size`` bytes of a file; None for all."""
    with path.open("rb") as file:
        handle = file.fileno()
        size = os.fstat(handle).st_size if size is None else size
        return Part(size, _combine(lambda start: os.pread(handle, min(_CHUNK, size - start), start), size))


def _combine(read: Callable[[int], bytes | memoryview], size: int) -> str:
    total = xxhash.xxh3_128()
    with ThreadPoolExecutor(cores()) as pool:  # reading and summing leave Python's lock to others
        work = range(0, size, _CHUNK)
        for digest in ordered_map(pool, lambda start: xxhash.xxh3_128_digest(read(start)), work, ahead=2 * cores()):
            total.update(digest)
    return total.hexdigest()

"""Records of a JSON-lines file, or of a JSON list."""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import Any

import numpy as np

from sa2va_native.datasets.reading.files import parse_json
from sa2va_native.datasets.reading.packed_records import PackedRecords
from sa2va_native.errors import BadSample, DataError
from sa2va_native.files.bounded_json import SAMPLE_BYTES, load_json, machine_memory, read_bounded

_CHUNK = 1 << 20


class JsonLines:
    """One JSON object per line, parsed on access; opening only finds the line ends (12 bytes per record).

    A file that begins with ``[`` is one JSON list instead; it is parsed and kept in memory as a whole, so this is
    for small sets. Empty lines are skipped.

    Args:
        path: the file, UTF-8.
        remedy: ends the errors.

    Raises:
        DataError: missing, without records, or a list that is not JSON.
    """

    def __init__(self, path: Path, remedy: str) -> None:
        if not path.is_file():
            raise DataError(f"{path}: no such file. {remedy}")
        self.path = path
        self._list: PackedRecords | None = None
        with path.open("rb") as file:
            if file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
                try:
                    self._list = PackedRecords(parse_json(read_bounded(path, machine_memory()), path, remedy))
                except OSError as error:
                    raise DataError(f"{path}: unreadable ({error}). {remedy}") from error
        if self._list is None:
            self._starts, self._numbers = _line_starts(path, remedy)
        if not len(self):
            raise DataError(f"{path}: no records. {remedy}")

    def __len__(self) -> int:
        return len(self._starts) if self._list is None else len(self._list)

    def holds(self, pattern: bytes) -> bool:
        """Whether a pattern occurs in the file, which may be large; nothing is parsed."""
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return re.search(pattern, content) is not None

    def name(self, index: int) -> str:
        """The name of a record in errors: its line, or its position in the list, from 1."""
        return f"record {index + 1}" if self._list is not None else f"line {self._numbers[index]}"

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One record.

        Raises:
            BadSample: not a JSON object.
        """
        record = self._line(index) if self._list is None else self._list[index]
        if not isinstance(record, dict):
            raise BadSample(str(self.path), self.name(index), f"a {type(record).__name__}, expected a JSON object")
        return record

    def _line(self, index: int) -> Any:
        with self.path.open("rb") as file:
            file.seek(int(self._starts[index]))
            line = file.readline(SAMPLE_BYTES)
        try:
            return load_json(line)
        except (ValueError, RecursionError) as error:
            cut = "" if line.endswith(b"\n") else "; the file ends in this line: is it truncated?"
            raise BadSample(str(self.path), self.name(index), f"not JSON ({error}){cut}") from error


def _line_starts(path: Path, remedy: str) -> tuple[np.ndarray, np.ndarray]:
    """Offsets in bytes (int64) and numbers from 1 (uint32) of the lines that are not blank.

    Blank lines take neither memory nor time, so that a file of nothing else does no harm.

    Raises:
        DataError: a line that no record is as long as.
    """
    found, offset, start, number, before = [], 0, 0, 0, b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n"))
            starts = np.concatenate(([start], ends[:-1] + 1 + offset)) if len(ends) else ends
            lengths = ends + offset - starts
            one = np.flatnonzero(lengths == 1)  # perhaps a space or a carriage return
            characters = np.frombuffer(before[-1:] + chunk, np.uint8)[ends[one] + len(before[-1:]) - 1]
            blank = lengths == 0
            blank[one] = np.isin(characters, list(b" \t\r\v\f"))
            kept = np.flatnonzero(~blank)
            found.append((starts[kept], (kept + number + 1).astype(np.uint32)))
            if len(ends):
                start, number = int(ends[-1]) + 1 + offset, number + len(ends)
            offset, before = offset + len(chunk), chunk
            if offset - start > SAMPLE_BYTES:
                raise DataError(f"{path}: line {number + 1} has more than {SAMPLE_BYTES} bytes. {remedy}")
        file.seek(start)
        rest = file.read(3)  # what follows the last line end
        if len(rest) > 2 or rest.strip():
            found.append((np.array([start]), np.array([number + 1], np.uint32)))
    offsets, numbers = zip(*found, strict=True) if found else ([[]], [[]])
    return np.concatenate(offsets).astype(np.int64), np.concatenate(numbers).astype(np.uint32)

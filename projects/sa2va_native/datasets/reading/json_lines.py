"""Records of a JSON-lines file, or of a JSON list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sa2va_native.datasets.reading.files import parse_json
from sa2va_native.datasets.reading.packed_records import PackedRecords
from sa2va_native.errors import BadSample, DataError

_CHUNK = 1 << 24


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
                file.seek(0)
                self._list = PackedRecords(parse_json(file.read(), path, remedy))
        if self._list is None:
            self._starts, self._numbers = _line_starts(path)
        if not len(self):
            raise DataError(f"{path}: no records. {remedy}")

    def __len__(self) -> int:
        return len(self._starts) if self._list is None else len(self._list)

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
            line = file.readline()
        try:
            return json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:  # as in parse_json
            cut = "" if line.endswith(b"\n") else "; the file ends in this line: is it truncated?"
            raise BadSample(str(self.path), self.name(index), f"not JSON ({error}){cut}") from error


def _line_starts(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Offsets in bytes (int64) and numbers from 1 (uint32) of the lines that are not blank."""
    ends, offset = [np.array([-1])], 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            ends.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n")) + offset)
            offset += len(chunk)
        starts = np.concatenate(ends) + 1
        lengths = np.diff(starts, append=offset)
        blank = np.zeros(len(starts), bool)
        for short in np.flatnonzero(
            lengths <= 2
        ):  # a line end, perhaps with a carriage return; or the rest after the last one
            file.seek(int(starts[short]))
            blank[short] = not file.read(int(lengths[short])).strip()
    numbers = np.arange(1, len(starts) + 1, dtype=np.uint32)
    return starts[~blank], numbers[~blank]

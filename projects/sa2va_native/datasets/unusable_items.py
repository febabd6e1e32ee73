"""The items of a data set found to be unusable, shared by all loader workers of a rank."""

from __future__ import annotations

import errno
import os
import struct
import tempfile
import weakref
from collections import Counter
from collections.abc import Sequence

_RECORD = struct.Struct("<qB")


class UnusableItems:
    """Item -> why it cannot be used; each item counts once per reason, whichever processes found it.

    Processes share a temporary file. Each finding is appended in one write, and a query first reads what others have
    appended since. So it needs no lock, survives being forked and pickled, and takes memory only for unusable items.
    The file has no name but that of the owner's open handle, so even a killed process leaves none behind.

    Args:
        reasons: all possible reasons.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        handle, name = tempfile.mkstemp(prefix="set-aside-")
        os.unlink(name)
        self._path = f"/proc/{os.getpid()}/fd/{handle}"
        weakref.finalize(self, os.close, handle)
        self._found: dict[int, str] = {}
        self._file: int | None = None
        self._read = 0

    def add(self, item: int, reason: str) -> None:
        """Mark one item as unusable."""
        # O_APPEND: records of several processes stay whole
        if os.write(self._open(), _RECORD.pack(item, self.reasons.index(reason))) < _RECORD.size:
            raise OSError(errno.ENOSPC, "no space left for the list of unusable items", self._path)

    def __contains__(self, item: int) -> bool:
        self._catch_up()
        return item in self._found

    def counts(self) -> dict[str, int]:
        """Number of items for each of the reasons."""
        self._catch_up()
        counted = Counter(self._found.values())
        return {reason: counted[reason] for reason in self.reasons}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None}

    def _open(self) -> int:
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_APPEND)
        return self._file

    def _catch_up(self) -> None:
        new = os.pread(self._open(), 1 << 20, self._read)
        while len(new) >= _RECORD.size:
            whole = len(new) // _RECORD.size * _RECORD.size
            for item, reason in _RECORD.iter_unpack(new[:whole]):
                self._found.setdefault(item, self.reasons[reason])
            self._read += whole
            new = os.pread(self._open(), 1 << 20, self._read)

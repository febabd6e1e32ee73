"""The records of a large set on disk, memory-mapped: a billion cost a process no more memory than a thousand.

``index_builder.open_index`` makes and opens one.
"""

from __future__ import annotations

import bisect
import errno
import functools
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from sa2va_native.datasets.reading.object_limits import Dropped
from sa2va_native.datasets.reading.unchanged import Stamp
from sa2va_native.errors import BadSample, DataError

#: Rows of one record batch: what a build holds in memory, and what one look-up maps.
BATCH_ROWS = 16_384
#: Column that every index has: a bad record's ``[path, record, reason]`` as JSON; null for a good one.
FAULT = "fault"
#: Files that a process keeps open, of all its indices; limits of 1,024 open files are common.
_OPEN_FILES = 256


#: What reading a source yields for each of its records, in order: the columns of a good one, a filtered one, or a bad
#: one. A bad one has its place in the index: whoever draws it gets the ``BadSample``, so that it is counted and named.
Entry = dict[str, Any] | Dropped | BadSample


class Part(NamedTuple):
    """A piece of a source that is indexed in one go: a folder, a shard, a csv.

    Its records depend on nothing but the adapter's settings and the watched files and folders.
    """

    name: str  #: unique in its source and the same wherever that lies, e.g. ``"sav_003"``; rows carry it as ``part``
    watch: Mapping[Path, Stamp]  #: files and folders as they were before they were read; a change makes the part stale
    read: Callable[[], Iterator[Entry]]  #: can be pickled, as another process may be told to read


class IndexedPart(NamedTuple):
    """What an index knows of one part without opening its file."""

    name: str
    file: str  #: in the index's folder
    rows: int
    bad: int  #: rows that raise
    dropped: dict[str, int]  #: reason -> records left out


class Index(Sequence[dict[str, Any]]):
    """Rows of several Arrow IPC files, which are mapped when first used; pickled without them.

    Args:
        folder: holds the files.
        parts: in the order of the rows.
    """

    def __init__(self, folder: Path, parts: Sequence[IndexedPart]) -> None:
        self.folder, self.parts = folder, parts
        self._starts = [0, *itertools.accumulate(part.rows for part in parts)]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: Any) -> Any:
        """The columns of row ``index``, and ``part``, the name of its part.

        Raises:
            BadSample: the record was found unusable when it was indexed.
            DataError: the index is damaged or gone.
        """
        part, batch, row = self._find(index)
        fault = batch.column(FAULT)[row].as_py()
        if fault is not None:
            raise BadSample(*json.loads(fault))
        columns = {name: batch.column(name)[row].as_py() for name in batch.schema.names if name != FAULT}
        return {**columns, "part": part.name}

    def value(self, index: int, column: str) -> Any:
        """One column of a row; None where it says nothing, as of a bad record.

        Raises:
            DataError: the index is damaged or gone.
        """
        _, batch, row = self._find(index)
        return batch.column(column)[row].as_py()

    @property
    def dropped(self) -> dict[str, int]:
        """How many records each filter left out, by reason."""
        return dict(sum((Counter(part.dropped) for part in self.parts), Counter[str]()))

    @property
    def bad(self) -> int:
        """How many rows raise ``BadSample``."""
        return sum(part.bad for part in self.parts)

    def _find(self, index: int) -> tuple[IndexedPart, pa.RecordBatch, int]:
        """Part and batch of a row, and its place there."""
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        which = bisect.bisect_right(self._starts, index) - 1
        part = self.parts[which]
        number, row = divmod(int(index) - self._starts[which], BATCH_ROWS)
        return part, open_part(self.folder / part.file).get_batch(number), row

    def __reduce__(self):  # a loader worker maps the files by itself
        return Index, (self.folder, self.parts)


@functools.lru_cache(_OPEN_FILES)
def open_part(file: Path) -> pa.ipc.RecordBatchFileReader:
    """Opened files are remembered: what lies behind a name is another thing only after a build, which forgets them.

    Raises:
        DataError: the file is damaged or gone, or too many are open.
    """
    try:
        return pa.ipc.open_file(pa.memory_map(str(file)))
    except FileNotFoundError:
        raise DataError(f"{file}: the set was indexed again meanwhile. Start the run again.") from None
    except (OSError, pa.ArrowInvalid) as error:
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            raise DataError(f"{file}: this process has too many files open. Raise the limit (ulimit -n).") from error
        raise DataError(f"{file}: damaged index ({error}). Delete {file.parent}.") from error

"""The records of a large set on disk, memory-mapped: a billion take a process no more memory than a thousand.

``index_builder.open_index`` builds and opens one.
"""

from __future__ import annotations

import bisect
import errno
import functools
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from sa2va_native.datasets.reading.object_limits import Dropped
from sa2va_native.datasets.reading.unchanged import Stamp
from sa2va_native.errors import BadSample, DataError

#: Rows per record batch: what a build holds in memory, and what one lookup maps.
BATCH_ROWS = 16_384
#: Column of every index: ``[path, record, reason]`` of a bad record as JSON; null for a good one.
FAULT = "fault"
#: Files that a process keeps open over all its indices; limits of 1,024 open files are common.
_OPEN_FILES = 256


#: What reading a source yields for each record, in order: the columns of a good one, a filtered one, or a bad one. A
#: bad one keeps its row in the index; drawing it raises the ``BadSample``, so that it is counted and named.
Entry = dict[str, Any] | Dropped | BadSample


class Part(NamedTuple):
    """A unit of a source that is indexed as a whole: a folder, a shard, a csv.

    Its records depend only on the adapter's settings and the watched files and folders.
    """

    name: str  #: unique in its source and independent of the source's location, e.g. ``"sav_003"``; in rows, ``part``
    watch: Mapping[Path, Stamp]  #: state of files and folders before they were read; a change makes the part stale
    read: Callable[[], Iterator[Entry]]  #: can be pickled, since another process may do the reading


class IndexedPart(NamedTuple):
    """What an index knows about one part without opening its file."""

    name: str
    file: str  #: in the index's folder
    rows: int
    bad: int  #: rows that raise ``BadSample``
    dropped: dict[str, int]  #: reason -> number of records left out


class Index(Sequence[dict[str, Any]]):
    """Rows of several Arrow IPC files, which are mapped on first use and left out of pickles.

    A row is checked in full before it is read: offsets of a damaged or planted file would lead out of its memory.

    Args:
        folder: folder of the files.
        parts: in the order of the rows.
        schema: that all files must have; None for any.
    """

    def __init__(self, folder: Path, parts: Sequence[IndexedPart], schema: pa.Schema | None = None) -> None:
        self.folder, self.parts, self.schema = folder, parts, schema
        self._starts = [0, *itertools.accumulate(part.rows for part in parts)]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: Any) -> Any:
        """The columns of row ``index``, with the name of its part as ``part``.

        Raises:
            BadSample: the record was found to be unusable when it was indexed.
            DataError: the index is damaged or gone.
        """
        part, row = self._find(index)
        columns: dict[str, Any] = row.to_pylist()[0]
        if (fault := columns.pop(FAULT)) is not None:
            raise self._fault(part, fault)
        return {**columns, "part": part.name}

    def value(self, index: int, column: str) -> Any:
        """One column of a row; None if it is null, as for a bad record.

        Raises:
            DataError: the index is damaged or gone.
        """
        return self._find(index)[1].column(column)[0].as_py()

    def values(self, indices: Iterable[int], *columns: str) -> list[tuple[Any, ...]]:
        """The name of the part and some columns of rows; rows that stand together are found at once.

        Raises:
            DataError: the index is damaged or gone.
        """
        found: list[tuple[Any, ...]] = []
        for (which, number), places in itertools.groupby(map(self._place, indices), key=itemgetter(0, 1)):
            rows = [row for _, _, row in places]
            first = min(rows)
            batch = self._rows(which, number, first, max(rows) + 1 - first)
            lists = [batch.column(name).to_pylist() for name in columns]
            found += [(self.parts[which].name, *(values[row - first] for values in lists)) for row in rows]
        return found

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of all rows; reads the whole index.

        Raises:
            DataError: the index is damaged or gone.
        """
        chunks = []
        for which, part in enumerate(self.parts):
            for start in range(0, part.rows, BATCH_ROWS):
                rows = min(BATCH_ROWS, part.rows - start)
                chunks.append(self._rows(which, start // BATCH_ROWS, 0, rows).column(name))
        return pa.chunked_array(chunks)

    @property
    def dropped(self) -> dict[str, int]:
        """Number of records left out by filters, by reason."""
        return dict(sum((Counter(part.dropped) for part in self.parts), Counter[str]()))

    @property
    def bad(self) -> int:
        """Number of rows that raise ``BadSample``."""
        return sum(part.bad for part in self.parts)

    def _fault(self, part: IndexedPart, fault: str) -> DataError:
        """The error of a bad record."""
        try:
            path, record, reason = json.loads(fault)
            return BadSample(str(path), str(record), str(reason))
        except (ValueError, TypeError, RecursionError) as error:
            return damaged(self.folder / part.file, error)

    def _find(self, index: int) -> tuple[IndexedPart, pa.RecordBatch]:
        """Part of a row, and a batch of this row alone."""
        which, number, row = self._place(index)
        return self.parts[which], self._rows(which, number, row, 1)

    def _place(self, index: int) -> tuple[int, int, int]:
        """Number of the part of a row, of its batch in the part, and of the row in the batch."""
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        which = bisect.bisect_right(self._starts, index) - 1
        return (which, *divmod(int(index) - self._starts[which], BATCH_ROWS))

    def _rows(self, which: int, number: int, first: int, count: int) -> pa.RecordBatch:
        """Rows ``first .. first + count - 1`` of a batch of a part, checked."""
        file = self.folder / self.parts[which].file
        try:
            rows = open_part(file).get_batch(number).slice(first, count)
            check_batch(rows, self.schema, count)
        except NOT_ARROW as error:
            raise damaged(file, error) from error
        return rows

    def __reduce__(self):  # a loader worker maps the files itself
        return Index, (self.folder, self.parts, self.schema)


#: What pyarrow raises for a file that is damaged, or no index.
NOT_ARROW = (pa.ArrowException, ValueError, TypeError, LookupError, RecursionError)


def check_batch(batch: pa.RecordBatch, schema: pa.Schema | None, rows: int) -> None:
    """Checks each value of a batch; none may be looked at before.

    Raises:
        ValueError: other columns or another number of rows than expected, or values that are not valid.
    """
    if schema is not None and not batch.schema.equals(schema):
        raise ValueError(f"columns {', '.join(batch.schema.names)}, expected {', '.join(schema.names)}")
    if batch.num_rows != rows:
        raise ValueError(f"{batch.num_rows} rows, expected {rows}")
    batch.validate(full=True)


def damaged(file: Path, error: Exception) -> DataError:
    """The error for a file of an index that cannot be read."""
    return DataError(f"{file}: damaged index ({error}). Delete {file.parent}.")


@functools.lru_cache(_OPEN_FILES)
def open_part(file: Path) -> pa.ipc.RecordBatchFileReader:
    """Opened files are cached; only a build changes the content behind a name, and it clears the cache.

    Raises:
        DataError: the file is damaged or gone, or too many are open.
    """
    try:
        return pa.ipc.open_file(pa.memory_map(str(file)))
    except FileNotFoundError:
        raise DataError(f"{file}: the set was indexed again in the meantime. Start the run again.") from None
    except (OSError, pa.ArrowInvalid) as error:
        if isinstance(error, OSError) and error.errno == errno.EMFILE:
            raise DataError(f"{file}: this process has too many files open. Raise the limit (ulimit -n).") from error
        raise damaged(file, error) from error

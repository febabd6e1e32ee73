"""What the adapters of large sets share: their records are in an index."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from sa2va_native.datasets.indexing.index import Index, Part
from sa2va_native.datasets.indexing.index_builder import open_index
from sa2va_native.errors import BadSample, DataError

#: Column of sets whose files give the size of an object: its share of the picture, 0..1; null if unknown.
AREA_SHARE = "area_share"


class IndexedSet:
    """Base class of adapters; each row of ``index`` is one item, which the adapter's ``__getitem__`` reads."""

    index: Index
    _has_area: bool

    def __len__(self) -> int:
        return len(self.index)

    def area_share(self, index: int) -> float:
        """See ``MixtureDataset.area_share``."""
        return (self.index.value(index, AREA_SHARE) or 0.0) if self._has_area else 0.0

    def _row(self, index: int, *needed: str) -> dict[str, Any]:
        """A row of the index, which may be damaged or planted.

        Args:
            needed: columns without which the row means nothing.

        Raises:
            BadSample: the record is bad, or such a column is null or a number below 0.
            DataError: see ``Index``.
        """
        row = self.index[index]
        self._require(row, f"row {index}", *needed)
        return row

    def _require(self, row: dict[str, Any], record: str, *needed: str) -> None:
        """See :meth:`_row`."""
        for name in needed:
            if row[name] is None or (isinstance(row[name], int) and row[name] < 0):
                raise BadSample(str(self.index.folder), record, f"changed since it was indexed: {name} is {row[name]}")

    def _open_index(
        self,
        root: Path,
        index_dir: str | Path | None,
        settings: dict[str, Any],
        columns: dict[str, pa.DataType],
        parts: Callable[[], Iterable[Part]],
        remedy: str,
    ) -> None:
        """Set ``index``; the adapter's name is added to the settings. Arguments: see ``open_index``.

        Raises:
            DataError: no record is left; the message ends with ``remedy``.
            ConfigError: see ``open_index``.
        """
        self._has_area = AREA_SHARE in columns
        self.index = open_index(root, index_dir, {"adapter": type(self).__name__, **settings}, columns, parts)
        if not len(self.index):
            raise DataError(f"{root}: no record is left (dropped: {self.index.dropped}). {remedy}")

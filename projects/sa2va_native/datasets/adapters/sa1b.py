"""SA-1B: 11 million photographs with masks of everything, without class names."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mmengine.registry import DATASETS

from sa2va_native.datasets.adapters.tar_shards import TarShards
from sa2va_native.datasets.indexing.file_parts import file_parts
from sa2va_native.datasets.indexing.index import Entry, Part
from sa2va_native.datasets.reading.files import require_own
from sa2va_native.errors import BadSample
from sa2va_native.files.bounded_json import read_bounded


@DATASETS.register_module()
class Sa1b(TarShards):
    """Each annotation is one item. Three layouts are read, also mixed below one root:

    * the official shards ``sa_000000.tar`` as downloaded;
    * unpacked, ``sa_{id}.jpg`` next to ``sa_{id}.json``;
    * ``img/sa_{id}.jpg`` and ``js/sa_{id}.json`` in separate folders.

    Arguments, faults and errors: see ``TarShards``. A missing jpg is a bad sample for each of its annotations.
    """

    _remedy = "Expected sa_*.tar, or sa_*.jpg next to sa_*.json, or these in folders img and js."

    def _parts(self) -> Iterator[Part]:
        yield from super()._parts()
        yield from file_parts(self.root, ".json", self._files)

    def _files(self, folder: Path, names: list[str]) -> Iterator[Entry]:
        for name in names:
            path = folder / name
            stem = path.relative_to(self.root).as_posix().removesuffix(".json")
            try:
                content = read_bounded(path)
            except OSError as error:
                yield BadSample(str(path), "json", f"unreadable ({error})")
                continue
            yield from self._annotations(content, str(path), {"stem": stem})

    def _open(self, row: dict[str, Any]) -> tuple[Path | BinaryIO, BinaryIO, str]:
        if row["json_start"] is not None:
            return super()._open(row)
        json_file = self.root / f"{row['stem']}.json"
        folder = json_file.parent
        pictures = folder.with_name("img") if folder.name == "js" else folder
        require_own(self.root, json_file, "json")
        try:
            content = io.BytesIO(read_bounded(json_file))
            return pictures / f"{json_file.stem}.jpg", content, str(json_file)
        except OSError as error:
            raise BadSample(str(json_file), "json", f"unreadable ({error})") from error

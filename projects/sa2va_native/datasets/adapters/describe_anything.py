"""Describe Anything: detailed captions of masked objects. Its data is licensed for non-commercial use only."""

from __future__ import annotations

import functools
import json
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from mmengine.registry import DATASETS

from sa2va_native.datasets.indexing.file_parts import walk
from sa2va_native.datasets.indexing.index import Entry, Part
from sa2va_native.datasets.indexing.indexed_set import AREA_SHARE, IndexedSet
from sa2va_native.datasets.reading.files import (
    read_json,
    read_picture,
    require_folder,
    require_own,
    usable_text,
)
from sa2va_native.datasets.reading.mask_codec import MaskError, mask_area, mask_on, rle_size
from sa2va_native.datasets.reading.object_limits import Dropped
from sa2va_native.datasets.reading.tar_shard import ByteRange, list_shard, read_member
from sa2va_native.datasets.reading.unchanged import stamp
from sa2va_native.errors import BadSample
from sa2va_native.structures import Sample

_COLUMNS = {
    "record": pa.string(),
    "caption": pa.string(),
    "mask": pa.string(),  # as JSON
    "shard": pa.string(),
    "picture": pa.string(),  # name of the member
    "start": pa.int64(),
    "size": pa.int64(),
    AREA_SHARE: pa.float64(),
}
#: A sample's picture is named by its id and one of these suffixes; of several video frames, the first is annotated.
_PICTURES = (".jpg", ".0.jpg")
_REMEDY = "Expected {root}/{split}/annotations.json and {root}/{split}/images/*.tar with {id}.jpg or {id}.0.jpg."


@DATASETS.register_module()
class DescribeAnything(IndexedSet):
    """Each mask of ``{split}/annotations.json`` is one item, with its caption as text.

    Layout: https://huggingface.co/datasets/nvidia/describe-anything-dataset. The json is ``{sample_id: {"caption",
    "mask_rle": {"size", "counts"}}}``, with a list where a sample has several masks; pictures are members of
    ``{split}/images/*.tar``. The pickles next to them repeat the content of the json and are never opened.

    Faults: a missing or broken picture, an invalid mask, an empty caption and the end of a truncated shard are bad
    samples. A picture that an earlier shard already contains is left out and counted, and so is the first of two
    samples with the same id.

    Args:
        root: folder of the splits.
        split: one of them, e.g. ``SAM``, ``COCOStuff`` or ``LVIS``.
        index_dir: see ``open_index``.

    Raises:
        DataError: a missing folder, a json that is missing or truncated, or no mask in it.
        ConfigError: see ``open_index``.
    """

    def __init__(self, root: str | Path, split: str, index_dir: str | Path | None = None) -> None:
        self.root = require_folder(Path(root), _REMEDY)
        self.json = self.root / split / "annotations.json"
        self.images = require_folder(self.root / split / "images", _REMEDY)
        self._open_index(self.root, index_dir, {"split": split}, _COLUMNS, self._parts, _REMEDY)

    def __getitem__(self, index: int) -> Sample:
        row = self._row(index, *_COLUMNS.keys() - {AREA_SHARE})
        record, shard = row["record"], self.images / row["shard"]
        segmentation, caption = _parsed(row["mask"], self.json, record), _parsed(row["caption"], self.json, record)
        text = usable_text(caption, self.json, record)
        require_own(self.root, shard, "shard")
        member = read_member(shard, ByteRange(row["start"], row["size"]), row["picture"])
        image = read_picture(member, record, rle_size(segmentation))
        mask, strays = mask_on(image, segmentation, self.json, record)
        return Sample(f"{self.json.relative_to(self.root)}#{record}", image, mask, text, strays=strays)

    def picture_name(self, index: int) -> str | None:
        """See ``datasets.picture_share``."""
        ((_, name),) = self.index.values([index], "picture")
        return name or None

    def pictures(self, indices: Sequence[int]) -> list[Hashable]:
        """See ``datasets.picture_order``: the masks of a sample stand together."""
        return [name and (shard, name) for _, shard, name in self.index.values(indices, "shard", "picture")]

    def _parts(self) -> Iterator[Part]:
        found = list(walk(self.images, ".tar"))
        shards = [folder.path / name for folder in found for name in folder.names]
        bad = [one for folder in found for one in folder.bad]
        files = {file: stamp(file) for file in (self.json, *shards)}
        folders = {folder.path: folder.stamp for folder in found}
        yield Part(self.json.parent.name, files | folders, functools.partial(self._records, shards, bad))

    def _records(self, shards: list[Path], bad: list[BadSample]) -> Iterator[Entry]:
        yield from bad
        repeated: list[Dropped] = []

        def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            made = dict(pairs)
            repeated.extend([Dropped("keys repeated in their object")] * (len(pairs) - len(made)))
            return made

        content = read_json(self.json, f"Download it again. {_REMEDY}", make_object)
        yield from repeated
        pictures: dict[str, dict[str, Any]] = {}
        for path in shards:
            shard = list_shard(path)
            yield from shard.left_out
            for stem, members in shard.samples.items():
                for suffix, (start, size) in members.items():
                    name = f"{stem}.{suffix}"
                    if not name.endswith(_PICTURES):
                        continue
                    if name in pictures:
                        yield Dropped("pictures that an earlier shard already contains")
                        continue
                    place = path.relative_to(self.images).as_posix()
                    pictures[name] = {"shard": place, "picture": name, "start": start, "size": size}
        for sample_id, entry in content.items():
            places = (pictures.get(f"{sample_id}{ending}") for ending in _PICTURES)
            yield from self._sample(sample_id, entry, next(filter(None, places), None))

    def _sample(self, sample_id: str, entry: Any, place: dict[str, Any] | None) -> Iterator[Entry]:
        """The records of one entry of the json."""
        for number, mask in enumerate(entry if isinstance(entry, list) else [entry]):
            record = f"{sample_id!r:.80} mask {number}"
            if not isinstance(mask, dict):
                yield BadSample(str(self.json), record, f"a {type(mask).__name__}, expected a caption and a mask_rle")
            elif place is None:
                yield BadSample(str(self.json), record, f"missing: no picture for it in {self.images}")
            else:
                texts = {
                    name: json.dumps(mask.get(key)) for name, key in (("caption", "caption"), ("mask", "mask_rle"))
                }
                yield {"record": record, **texts, **place, AREA_SHARE: _area_share(mask.get("mask_rle"))}


def _parsed(text: str, path: Path, record: str) -> Any:
    """A value that the index keeps as JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadSample(str(path), record, f"changed since it was indexed ({error})") from error


def _area_share(rle: Any) -> float | None:
    """Share of the picture, 0..1; None for a broken RLE, which becomes a bad sample when it is drawn."""
    if (size := rle_size(rle)) is None:
        return None
    try:
        return mask_area(rle, *size) / (size[0] * size[1])
    except (MaskError, ZeroDivisionError):
        return None

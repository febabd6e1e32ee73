"""Pictures and jsons of their masks, in tar shards."""

from __future__ import annotations

import functools
import os
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from mmengine.registry import DATASETS

from sa2va_native.datasets.indexing.file_parts import folder_part, walk
from sa2va_native.datasets.indexing.index import Entry, Part
from sa2va_native.datasets.indexing.indexed_set import AREA_SHARE, IndexedSet
from sa2va_native.datasets.reading.files import read_picture, require_folder, require_own, usable_text
from sa2va_native.datasets.reading.mask_codec import mask_on, rle_size
from sa2va_native.datasets.reading.object_limits import Dropped, ObjectLimits, area_share
from sa2va_native.datasets.reading.tar_shard import ByteRange, list_shard, read_member
from sa2va_native.datasets.reading.texts import is_text
from sa2va_native.datasets.reading.unchanged import stamp
from sa2va_native.errors import BadSample
from sa2va_native.files.bounded_json import load_json
from sa2va_native.structures import Sample

_PICTURES = ("jpg", "jpeg", "png", "webp")
_COLUMNS = {
    "stem": pa.string(),  # path of the json without its suffix, inside the shard if there is one
    "picture_start": pa.int64(),  # null for a file outside a shard
    "picture_size": pa.int64(),
    "json_start": pa.int64(),
    "json_size": pa.int64(),
    "picture_suffix": pa.string(),
    "annotation": pa.int32(),  # position in the json
    AREA_SHARE: pa.float64(),
}


@DATASETS.register_module()
class TarShards(IndexedSet):
    """Each annotation of each json is one item; shards are uncompressed ``*.tar`` below ``root``.

    A sample of a shard is a picture (jpg, jpeg, png, webp) and a json of the same name, ``{"image": {"width",
    "height"}, "annotations": [{"segmentation", "area", "id", ...}]}``, as in SA-1B; masks are RLE or polygons.
    Content is read by its position in the shard, so shards are neither unpacked nor read in order.

    Faults: a json that cannot be read or has no picture is one bad sample, and so is the end of a truncated or broken
    shard; everything before it is used. Of annotations with the same id in a json, the first is used; the others are
    left out and counted.

    Args:
        root: folder of the shards.
        index_dir: see ``open_index``.
        text_key: key of an annotation's human text; annotations without it are left out.
        min_area_share, max_area_share, min_predicted_iou, min_stability_score: see ``ObjectLimits``; the area is
            the annotation's ``area``.

    Raises:
        DataError: a missing folder, or no usable annotation in it.
        ConfigError: see ``open_index`` and ``ObjectLimits``.
    """

    _remedy = "Expected uncompressed *.tar shards of jpg and json members."

    def __init__(
        self,
        root: str | Path,
        index_dir: str | Path | None = None,
        text_key: str | None = None,
        min_area_share: float = 0.0,
        max_area_share: float = 1.0,
        min_predicted_iou: float = 0.0,
        min_stability_score: float = 0.0,
    ) -> None:
        self.root, self.text_key = require_folder(Path(root), self._remedy), text_key
        scores = {"predicted_iou": min_predicted_iou, "stability_score": min_stability_score}
        self.limits = ObjectLimits(min_area_share, max_area_share, scores)
        settings = {"text_key": text_key, **self.limits.settings()}
        self._open_index(self.root, index_dir, settings, _COLUMNS, self._parts, self._remedy)

    def __getitem__(self, index: int) -> Sample:
        row = self._row(index, "stem", "annotation")
        picture_file, json_file, name = self._open(row)
        with json_file:
            content = parse_annotations(json_file.read(), name)
        annotation = next(iter(content["annotations"][row["annotation"] :]), None)
        if not isinstance(annotation, dict):
            raise BadSample(name, f"annotation {row['annotation']}", "changed since it was indexed")
        record = _record(annotation, row["annotation"])
        if isinstance(picture_file, Path):
            require_own(self.root, picture_file, record)
        image = read_picture(picture_file, record, rle_size(annotation.get("segmentation")))
        mask, strays = mask_on(image, annotation.get("segmentation"), name, record)
        text = usable_text(annotation.get(self.text_key), name, record) if self.text_key else None
        return Sample(f"{os.path.relpath(name, self.root)}#{record}", image, mask, text, strays=strays)

    def picture_name(self, index: int) -> str | None:
        """See ``datasets.picture_share``."""
        ((part, name),) = self.index.values([index], "stem")
        return f"{part}/{name}" if name else None

    def pictures(self, indices: Sequence[int]) -> list[Hashable]:
        """See ``datasets.picture_order``: the masks of a json stand together."""
        return [stem and (part, stem) for part, stem in self.index.values(indices, "stem")]

    def _parts(self) -> Iterator[Part]:
        """One part per shard and one per folder."""
        for folder in walk(self.root, ".tar"):
            yield folder_part(self.root, folder, ".tar")
            for path in (folder.path / name for name in folder.names):
                read = functools.partial(self._shard, path)
                yield Part(path.relative_to(self.root).as_posix(), {path: stamp(path)}, read)

    def _open(self, row: dict[str, Any]) -> tuple[Path | BinaryIO, BinaryIO, str]:
        """Picture, json, and the json's name in errors."""
        shard, stem = self.root / row["part"], row["stem"]
        self._require(row, stem, "picture_start", "picture_size", "json_start", "json_size", "picture_suffix")
        require_own(self.root, shard, "shard")
        picture = ByteRange(row["picture_start"], row["picture_size"])
        content = ByteRange(row["json_start"], row["json_size"])
        name = f"{stem}.json"
        return (
            read_member(shard, picture, f"{stem}.{row['picture_suffix']}"),
            read_member(shard, content, name),
            str(shard / name),
        )

    def _shard(self, path: Path) -> Iterator[Entry]:
        shard = list_shard(path)
        for stem, members in shard.samples.items():
            suffix = next((suffix for suffix in _PICTURES if suffix in members), None)
            if suffix is None or "json" not in members:
                missing = "picture" if suffix is None else "json"
                yield BadSample(
                    str(path), stem or "(no name)", f"no {missing} among its members: {', '.join(sorted(members))}"
                )
                continue
            place = {
                "stem": stem,
                "picture_start": members[suffix].start,
                "picture_size": members[suffix].size,
                "json_start": members["json"].start,
                "json_size": members["json"].size,
                "picture_suffix": suffix,
            }
            try:
                content = read_member(path, members["json"], f"{stem}.json")
            except BadSample as error:
                yield error
                continue
            yield from self._annotations(content.read(), str(path / f"{stem}.json"), place)
        yield from shard.left_out

    def _annotations(self, content: bytes, name: str, place: dict[str, Any]) -> Iterator[Entry]:
        """The records of one json, each with the entries of ``place``."""
        try:
            parsed = parse_annotations(content, name)
        except BadSample as error:
            yield error
            return
        ids, image = set(), parsed.get("image")
        width, height = (image.get("width"), image.get("height")) if isinstance(image, dict) else (None, None)
        for position, annotation in enumerate(parsed["annotations"]):
            if not isinstance(annotation, dict):
                yield BadSample(name, f"annotation {position}", f"a {type(annotation).__name__}, expected an object")
                continue
            share = area_share(annotation.get("area"), width, height)
            try:
                left_out = self._left_out(annotation, share)
            except ValueError as error:
                yield BadSample(name, _record(annotation, position), str(error))
                continue
            number = annotation.get("id")
            if left_out is None and number is not None:
                left_out = "with an id that their json already has" if str(number) in ids else None
                ids.add(str(number))
            yield Dropped(left_out) if left_out else {**place, "annotation": position, AREA_SHARE: share}

    def _left_out(self, annotation: dict[str, Any], share: float | None) -> str | None:
        if self.text_key and not is_text(annotation.get(self.text_key)):
            return f"without '{self.text_key}'"
        if self.limits.asks_area:
            if share is None:
                raise ValueError("the limits of area need its 'area', and 'width' and 'height' of the 'image'")
            if reason := self.limits.outside_area(share):
                return reason
        return self.limits.below_score(annotation)


def parse_annotations(content: bytes, name: str) -> dict[str, Any]:
    """A json with a list ``annotations``.

    Raises:
        BadSample: it is not such a json.
    """
    try:
        parsed = load_json(content)
    except (ValueError, RecursionError) as error:
        raise BadSample(name, "json", f"not JSON; truncated? ({error})") from error
    if not isinstance(parsed, dict) or not isinstance(parsed.get("annotations"), list):
        raise BadSample(name, "json", "no list 'annotations' in it")
    return parsed


def _record(annotation: dict[str, Any], position: int) -> str:
    number = annotation.get("id")
    return f"annotation {position if number is None else number}"

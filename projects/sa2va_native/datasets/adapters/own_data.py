"""The user's own masks: one small record per object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from mmengine.registry import DATASETS

from sa2va_native.datasets.reading.files import (
    MAX_IMAGE_PIXELS,
    inside,
    read_mask,
    read_picture,
    require_folder,
    usable_text,
)
from sa2va_native.datasets.reading.json_lines import JsonLines
from sa2va_native.datasets.reading.mask_codec import Decoded, mask_on, rle_size
from sa2va_native.datasets.reading.texts import unread_texts
from sa2va_native.errors import BadSample, near_miss
from sa2va_native.structures import Sample

KEYS = ("image", "mask", "text", "image2", "mask2", "id")  # a misspelt id loses nothing
_LIST_OF_TEXTS = rb'"text"\s*:\s*\['
_REMEDY = 'Expected one record per line, e.g. {"image": "a.jpg", "mask": [[10, 10, 90, 10, 90, 60]]}.'


@DATASETS.register_module()
class OwnData:
    """Each record of a JSON-lines file (or of one JSON list) is one item, or one for each text in a list.

    A record has

    * ``image``: path of the picture, relative to ``image_root``;
    * ``mask``: polygons ``[[x0, y0, x1, y1, ...], ...]`` in px, an RLE ``{"size": [height, width], "counts":
      ...}``, both as COCO has them, or the path of a PNG of the picture's size, 0 outside the object; ``null`` beside
      a text says that the text means nothing in the picture, and the sample's mask is empty;
    * ``text``, optional: a human expression or caption, or a list of them, each of which is an item;
    * ``image2`` and ``mask2``, optional: the same object in another frame;
    * ``id``, optional: a name to display. Ids need not be unique: records are identified by their line.

    Other keys are ignored, but a key that looks like a misspelling of one of these is refused. For unusual pictures,
    masks and paths see ``files``. Opening the file parses no record unless there are lists of texts, so even millions
    of lines open quickly.

    Args:
        path: the file.
        image_root: folder that the paths are relative to and must not leave; the file's own folder when None.
        text_required: whether a record without text is a bad sample, as it is in a ``refer`` or ``caption`` source.
        max_pixels: largest picture that is decoded.

    Raises:
        DataError: the file or the folder is missing or empty.
    """

    def __init__(
        self,
        path: str | Path,
        image_root: str | Path | None = None,
        text_required: bool = False,
        max_pixels: int = MAX_IMAGE_PIXELS,
    ) -> None:
        self.path = Path(path)
        self.records = JsonLines(self.path, _REMEDY)
        folder = self.path.parent if image_root is None else Path(image_root)
        self.image_root = require_folder(folder, f"Give the folder with the pictures of {self.path}.")
        self.text_required, self.max_pixels = text_required, max_pixels
        #: Of each item its record and its place in the list of texts, int64 (N, 2); None if items are records.
        self._items = self._each_text() if self.records.holds(_LIST_OF_TEXTS) else None

    def __len__(self) -> int:
        return len(self.records) if self._items is None else len(self._items)

    def _each_text(self) -> np.ndarray:
        items = []
        for number in range(len(self.records)):
            with suppress(BadSample):  # reported when the sample is read
                text = self.records[number].get("text")
                if isinstance(text, list) and text:
                    items += [(number, place) for place in range(len(text))]
                    continue
            items.append((number, 0))
        return np.array(items, np.int64)

    def _record_of(self, index: int) -> tuple[int, int]:
        """The record of an item, and its place in the list of texts."""
        if self._items is None:
            return index, 0
        number, place = self._items[index].tolist()
        return number, place

    def picture_name(self, index: int) -> str | None:
        """See ``datasets.picture_share``."""
        try:
            name = self.records[self._record_of(index)[0]].get("image")
        except BadSample:
            return None  # reported when the sample is read
        return name if isinstance(name, str) else None

    def check_all(self) -> list[str]:
        """Problems that no single sample shows: repeated ids, unread texts. Reads every record, but no picture."""
        return [*self._repeated_ids(), *unread_texts(self._sound_records(), KEYS, "the key of a text is 'text'")]

    def _repeated_ids(self) -> list[str]:
        lines: dict[Any, list[str]] = defaultdict(list)
        for index in range(len(self.records)):
            try:
                number = self.records[index].get("id")
            except BadSample:
                continue  # reported when the sample is read
            if isinstance(number, (int, str)):
                lines[number].append(self.records.name(index))
        repeated = [f"{number} ({', '.join(places[:3])})" for number, places in lines.items() if len(places) > 1]
        if not repeated:
            return []
        first = ", ".join(repeated[:5]) + (", ..." if len(repeated) > 5 else "")
        return [f"{len(repeated)} ids are given twice; all their records are used: {first}"]

    def _sound_records(self) -> Iterator[dict[str, Any]]:
        for index in range(len(self.records)):
            with suppress(BadSample):  # reported when the sample is read
                yield self.records[index]

    def __getitem__(self, index: int) -> Sample:
        """One object.

        Raises:
            BadSample: see the class.
        """
        number, place = self._record_of(index)
        record, line = self.records[number], self.records.name(number)
        self._check_keys(record, line)
        text, required = record.get("text"), self.text_required
        if isinstance(text, list) and text:
            text, line, required = text[place], f"{line} text {place + 1}", True
        if text is not None or required:
            text = usable_text(text, self.path, line)
        if text is not None and record.get("mask", ...) is None and "bbox" not in record:
            return self._without_target(record, line, text)
        image, (mask, strays) = self._frame(record, line, "image", "mask")
        sample = Sample(self._sample_id(record, line), image, mask, text, strays=strays)
        if record.get("image2") is not None or record.get("mask2") is not None:
            sample.image2, (sample.mask2, more) = self._frame(record, line, "image2", "mask2")
            sample.strays += more
        return sample

    def _without_target(self, record: dict[str, Any], line: str, text: str) -> Sample:
        """A text that means nothing in the picture."""
        if record.get("image2") is not None or record.get("mask2") is not None:
            raise BadSample(str(self.path), line, "no 'mask' beside a second frame")
        file = inside(self.image_root, record.get("image"), self.path, line)
        image = read_picture(file, line, None, self.max_pixels)
        return Sample(self._sample_id(record, line), image, np.zeros(image.shape[:2], bool), text)

    def pictures(self, indices: Sequence[int]) -> list[Hashable]:
        """See ``datasets.picture_order``: neighbouring lines with the same picture, or the same two, count as one."""
        return [self._pictures_of(index) for index in indices]

    def _pictures_of(self, index: int) -> Hashable:
        try:
            record = self.records[self._record_of(index)[0]]
        except BadSample:
            return None  # reported when the sample is read
        files = record.get("image"), record.get("image2")
        return files if all(isinstance(file, (str, NoneType)) for file in files) else None

    def _sample_id(self, record: dict[str, Any], line: str) -> str:
        name = f" id {record['id']}" if record.get("id") is not None else ""
        return f"{self.path.name}#{line}{name}"

    def _check_keys(self, record: dict[str, Any], line: str) -> None:
        for key in record:
            if key not in KEYS and (meant := near_miss(key, KEYS[:-1])):
                raise BadSample(str(self.path), line, f"unknown key '{key}'. Did you mean '{meant}'?")

    def _frame(self, record: dict[str, Any], line: str, image: str, mask: str) -> tuple[np.ndarray, Decoded]:
        """uint8 (H, W, 3) and the mask on it."""
        for key in (image, mask):
            if record.get(key) is None:
                box = ", only a 'bbox', which has no outline" if key == "mask" and "bbox" in record else ""
                raise BadSample(str(self.path), line, f"no '{key}'{box}")
        picture_file = inside(self.image_root, record[image], self.path, line)
        segmentation = record[mask]
        if isinstance(segmentation, str):
            pixels = read_mask(inside(self.image_root, segmentation, self.path, line), line, self.max_pixels)
            return read_picture(picture_file, line, pixels.shape, self.max_pixels), Decoded(pixels, ())
        picture = read_picture(picture_file, line, rle_size(segmentation), self.max_pixels)
        return picture, mask_on(picture, segmentation, self.path, line)

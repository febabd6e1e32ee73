"""One COCO ``instances`` file, indexed: what the COCO and the REFER adapters share."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from projects.sa2va.datasets.reading.files import MAX_IMAGE_PIXELS, inside, read_json, read_picture, require_folder
from projects.sa2va.datasets.reading.mask_codec import mask_on, rle_size
from projects.sa2va.datasets.reading.object_limits import area_share
from projects.sa2va.datasets.reading.packed_records import PackedRecords, apart
from projects.sa2va.errors import BadSample, DataError

#: Names a record whose id does not; added to it when the file is read.
_RECORD = "record name"
_REMEDY = "Give the path of a COCO instances json as ann_file."


class CocoFile:
    """Images and annotations of a COCO json, packed; pictures and masks are read on demand.

    Faults of the file, and what is done:

    * two annotations of one id: both are kept, as both have a mask; a reference to that id is a bad sample.
      If they are equal in everything, one is dropped;
    * two images of one id and different files: the annotations of that id are bad samples, as either picture
      could be meant;
    * an annotation that is no object, or without ``id`` or ``image_id``, or whose image is not listed or has no
      ``file_name``: a bad sample, named by its place in the file;
    * a picture of another size than its image's ``height`` and ``width``: a bad sample (see ``read_picture``
      for EXIF).

    Args:
        ann_file: e.g. ``annotations/instances_val2017.json``.
        image_root: folder of the pictures that ``file_name`` is relative to and must not leave.
        max_pixels: largest picture that is decoded.

    Attributes:
        annotations: all of them, in the order of the file.
        images: one of each id.
        notes: what was found at opening that is no fault of a single record; logged as warnings.

    Raises:
        DataError: the file or the folder is missing or empty, it lists no annotations, or none of them has a
            mask.
    """

    def __init__(self, ann_file: Path, image_root: Path, max_pixels: int = MAX_IMAGE_PIXELS) -> None:
        self.path, self.max_pixels = ann_file, max_pixels
        content = read_json(self.path, _REMEDY)
        self.image_root = require_folder(image_root, f"Give the folder of the pictures of {self.path}.")
        self.notes: list[str] = []
        images, self._unclear = self._index_images(_entries(content, "images", self.path))
        annotations, same_id = self._index_annotations(_entries(content, "annotations", self.path))
        if not annotations:
            raise DataError(f"{self.path}: no annotations. Give a COCO instances json with at least one annotation.")
        if not any(annotation.get("segmentation") for annotation in annotations):
            raise DataError(
                f"{self.path}: {len(annotations)} annotations, none with a mask ('segmentation'). "
                "Give an instances json; captions and boxes alone cannot be used."
            )
        self.images, self.annotations = PackedRecords(images.values()), PackedRecords(annotations)
        self._image_place = apart({number: place for place, number in enumerate(images)})
        self._place = apart({number: places[0] for number, places in same_id.items()})
        self._repeated = {number: len(places) for number, places in same_id.items() if len(places) > 1}
        for note in self.notes:
            print_log(f"{self.path}: {note}", logger="current", level=logging.WARNING)

    def record(self, annotation: dict[str, Any]) -> str:
        """How errors name an annotation."""
        return annotation.get(_RECORD) or f"annotation {annotation['id']}"

    def annotation(self, number: Any) -> dict[str, Any]:
        """The annotation of an id.

        Raises:
            LookupError: none or several have it; the message says which.
        """
        if not is_id(number) or number not in self._place:
            raise LookupError(f"ann_id {number!r} is not in {self.path}")
        if number in self._repeated:
            raise LookupError(f"ann_id {number!r} is given to {self._repeated[number]} annotations of {self.path}")
        return self.annotations[self._place[number]]

    def image(self, annotation: dict[str, Any]) -> dict[str, Any]:
        """The entry of an annotation's picture; empty when the file lists none."""
        return self.image_of(annotation.get("image_id"))

    def image_of(self, number: Any) -> dict[str, Any]:
        """The entry of an id; empty when the file lists none."""
        return self.images[self._image_place[number]] if is_id(number) and number in self._image_place else {}

    def area_share(self, annotation: dict[str, Any]) -> float:
        """``area`` among the pixels of the picture, as the file gives them; 0 where it does not."""
        image = self.image(annotation)
        return area_share(annotation.get("area"), image.get("width"), image.get("height")) or 0.0

    def picture(self, annotation: dict[str, Any]) -> np.ndarray:
        """The annotation's picture, uint8 (H, W, 3).

        Raises:
            BadSample: the json does not list it, or see ``read_picture``.
        """
        record, number = self.record(annotation), annotation.get("image_id")
        image = self.image(annotation)
        if not image:
            raise BadSample(str(self.path), record, f"image_id {number!r} is not among the images")
        if number in self._unclear:
            raise BadSample(str(self.path), record, f"image_id {number!r} is given to images of different files")
        height, width = image.get("height"), image.get("width")
        size = rle_size(annotation.get("segmentation"))
        if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
            size = height, width
        path = inside(self.image_root, image.get("file_name"), self.path, record)
        return read_picture(path, record, size, self.max_pixels)

    def mask(self, annotation: dict[str, Any], picture: np.ndarray) -> np.ndarray:
        """The annotation's mask, bool (H, W) of its picture.

        Raises:
            BadSample: see ``decode_mask``.
        """
        return mask_on(picture, annotation.get("segmentation"), self.path, self.record(annotation))

    def _index_images(self, entries: list[Any]) -> tuple[dict[Any, dict[str, Any]], set[Any]]:
        """Images by id, and the ids that are given to different files."""
        images: dict[Any, dict[str, Any]] = {}
        unclear = set()
        for entry in entries:
            number = entry.get("id") if isinstance(entry, dict) else None
            if not is_id(number):
                continue  # its annotations are bad samples: their image is not listed
            if number in images and images[number].get("file_name") != entry.get("file_name"):
                unclear.add(number)
            images.setdefault(number, entry)
        self._note(unclear, "image ids are given to different files; their annotations cannot be used")
        return images, unclear

    def _index_annotations(self, entries: list[Any]) -> tuple[list[dict[str, Any]], dict[Any, list[int]]]:
        """All annotations, and the places among them of each id."""
        annotations: list[dict[str, Any]] = []
        same_id: dict[Any, list[int]] = defaultdict(list)
        repeated, equal = [], []
        for position, entry in enumerate(entries):
            number = entry.get("id") if isinstance(entry, dict) else None
            if not is_id(number):
                name = {_RECORD: f"annotations[{position}]"}
                annotations.append({**entry, **name} if isinstance(entry, dict) else name)
                continue
            if any(_as_read(annotations[place]) == entry for place in same_id[number]):
                equal.append(number)
                continue
            same_id[number].append(len(annotations))
            if len(same_id[number]) > 1:
                repeated.append(number)
                entry = {**entry, _RECORD: f"annotation {number} (number {len(same_id[number])} of this id)"}
            annotations.append(entry)
        self._note(repeated, "annotation ids are given twice; both masks are kept")
        self._note(equal, "annotations stand in the file twice; one of each is kept")
        return annotations, same_id

    def _note(self, ids: Iterable[Any], what: str) -> None:
        ids = sorted(ids, key=str)
        if ids:
            first = ", ".join(map(str, ids[:5])) + (", ..." if len(ids) > 5 else "")
            self.notes.append(f"{len(ids)} {what}: {first}")


def is_id(number: Any) -> bool:
    """Whether a value of the JSON can be an id."""
    return isinstance(number, (int, str))


def _as_read(annotation: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in annotation.items() if key != _RECORD}


def _entries(content: dict[str, Any], key: str, path: Path) -> list[Any]:
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise DataError(f"{path}: '{key}' is a {type(entries).__name__}, expected a list. {_REMEDY}")
    return entries

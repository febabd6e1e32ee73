"""One COCO ``instances`` file, indexed: shared by the COCO and REFER adapters."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from sa2va_native.datasets.reading.files import MAX_IMAGE_PIXELS, inside, read_json, read_picture, require_folder
from sa2va_native.datasets.reading.mask_codec import Decoded, has_mask, mask_on, rle_size
from sa2va_native.datasets.reading.numbers import as_whole
from sa2va_native.datasets.reading.object_limits import area_share
from sa2va_native.datasets.reading.packed_records import PackedRecords, Value, apart, packed
from sa2va_native.errors import BadSample, DataError, printable

#: Key of a record's name if its id is ambiguous; added when the file is read. Not a string, unlike all json keys.
_RECORD = 0
_REMEDY = "Give the path of a COCO instances json as ann_file."


class CocoFile:
    """Images and annotations of a COCO json, packed; pictures and masks are read on demand.

    Faults of the file are treated as follows:

    * two annotations with the same id: both are kept, because both have a mask; a reference to that id is a bad
      sample. If they are identical, one is dropped;
    * an id written as text in one place and as a number in another is the same id;
    * two images with the same id and different files: annotations of that id are bad samples, because either picture
      could be meant;
    * an annotation that is not an object, lacks ``id`` or ``image_id``, or whose image is not listed or has neither
      ``file_name`` nor ``coco_url``: a bad sample, named by its position in the file;
    * a picture whose size differs from its image's ``height`` and ``width``, or for which these are not numbers: a bad
      sample (see ``read_picture`` for EXIF).

    Args:
        ann_file: e.g. ``annotations/instances_val2017.json``.
        image_root: folder of the pictures; a ``file_name`` is relative to it and must not leave it.
        max_pixels: largest picture that is decoded.

    Attributes:
        annotations: all of them, in the order of the file.
        images: one for each id.
        notes: problems found on opening that do not belong to a single record; logged as warnings.

    Raises:
        DataError: the file or the folder is missing or empty, it lists no annotations, or none of them has a
            mask.
    """

    def __init__(self, ann_file: Path, image_root: Path, max_pixels: int = MAX_IMAGE_PIXELS) -> None:
        self.path, self.max_pixels = ann_file, max_pixels
        content = read_json(self.path, _REMEDY)
        self.image_root = require_folder(image_root, f"Give the folder with the pictures of {self.path}.")
        self.notes: list[str] = []
        images, unclear = self._index_images(_entries(content, "images", self.path))
        annotations = self._name_annotations(_entries(content, "annotations", self.path))
        if not annotations:
            raise DataError(f"{self.path}: no annotations. Give a COCO instances json with at least one annotation.")
        _require_masks(annotations, self.path)
        self.images, self.annotations = PackedRecords(images.values()), PackedRecords(annotations)
        self._image_place = apart({number: place for place, number in enumerate(images)})
        self._unclear = apart(unclear)
        for note in self.notes:
            print_log(printable(f"{self.path}: {note}"), logger="current", level=logging.WARNING)

    def record(self, annotation: dict[Any, Any]) -> str:
        """The name of an annotation in errors."""
        return annotation.get(_RECORD) or f"annotation {annotation['id']}"

    def places(self) -> dict[Any, list[int]]:
        """Index of each id among the annotations; computed on every call, because it is large."""
        places: dict[Any, list[int]] = defaultdict(list)
        for place, annotation in enumerate(self.annotations):
            if is_id(number := annotation.get("id")):
                places[number].append(place)
        return dict(places)

    def image(self, annotation: dict[str, Any]) -> dict[str, Any]:
        """The image entry of an annotation; empty if the file lists none."""
        return self.image_of(annotation.get("image_id"))

    def image_of(self, number: Any) -> dict[str, Any]:
        """The image entry of an id; empty if the file lists none."""
        place = of_id(self._image_place, number)
        return {} if place is None else self.images[place]

    def picture_name(self, number: Any) -> str | None:
        """The file of an image id, as the json names it; None if it names none."""
        name = file_name(self.image_of(number))
        return name if isinstance(name, str) else None

    def area_share(self, annotation: dict[str, Any]) -> float:
        """The annotation's ``area`` as a share of its picture, 0..1, as stated in the file; 0 if it is not stated."""
        image = self.image(annotation)
        return area_share(annotation.get("area"), image.get("width"), image.get("height")) or 0.0

    def picture(self, annotation: dict[str, Any]) -> np.ndarray:
        """The annotation's picture, uint8 (H, W, 3).

        Raises:
            BadSample: the json does not list it, or see ``read_picture``.
        """
        stated = rle_size(annotation.get("segmentation"))
        return self.picture_of(annotation.get("image_id"), self.record(annotation), stated)

    def picture_of(self, number: Any, record: str, stated: tuple[int, int] | None = None) -> np.ndarray:
        """The picture of an image id, uint8 (H, W, 3), for a record that names it.

        Args:
            number: the id.
            record: for the error.
            stated: (height, width) in px where the json's image gives none.

        Raises:
            BadSample: see :meth:`picture`.
        """
        image = self.image_of(number)
        if not image:
            raise BadSample(str(self.path), record, f"image_id {number!r:.80} is not among the images")
        if image["id"] in self._unclear:
            raise BadSample(str(self.path), record, f"image_id {number!r:.80} is given to images of different files")
        size = self._size(image, record) or stated
        if not (name := file_name(image)):
            raise BadSample(str(self.path), record, f"image {number!r:.80} has neither file_name nor coco_url")
        path = inside(self.image_root, name, self.path, record)
        return read_picture(path, record, size, self.max_pixels)

    def mask(self, annotation: dict[str, Any], picture: np.ndarray) -> Decoded:
        """The annotation's mask, of the size of its picture.

        Raises:
            BadSample: see ``decode_pieces``.
        """
        return mask_on(picture, annotation.get("segmentation"), self.path, self.record(annotation))

    def _size(self, image: dict[str, Any], record: str) -> tuple[int, int] | None:
        """(height, width) of an image entry in px; None if it is not stated."""
        stated = image.get("height"), image.get("width")
        if not all(stated):
            return None
        height, width = map(as_whole, stated)
        if height is not None and width is not None and min(height, width) > 0:
            return height, width
        raise BadSample(str(self.path), record, f"picture annotated as {stated[1]!r:.40} x {stated[0]!r:.40} px")

    def _index_images(self, entries: list[Any]) -> tuple[dict[Any, dict[str, Any]], set[Any]]:
        """Images by id, and the ids that belong to different files."""
        images: dict[Any, dict[str, Any]] = {}
        unclear = set()
        for entry in entries:
            number = entry.get("id") if isinstance(entry, dict) else None
            if not is_id(number):
                continue  # its annotations become bad samples: their image is not listed
            if number in images and file_name(images[number]) != file_name(entry):
                unclear.add(number)
            images.setdefault(number, entry)
        self._note(unclear, "image ids are given to different files; their annotations cannot be used")
        return images, unclear

    def _name_annotations(self, entries: list[Any]) -> list[dict[Any, Any]]:
        """All distinct annotations; one that its id does not identify gets its own name."""
        annotations: list[dict[Any, Any]] = []
        first: dict[Any, int] = {}  # index of the first annotation of an id
        contents: dict[Any, set[bytes]] = {}  # indices of all annotations of a repeated id
        repeated, equal = [], []
        for position, entry in enumerate(entries):
            number = entry.get("id") if isinstance(entry, dict) else None
            if not is_id(number):
                given = entry if isinstance(entry, dict) else {}
                annotations.append({**given, _RECORD: f"annotations[{position}]"})
                continue
            if number in first:
                known = contents.setdefault(number, {packed(annotations[first[number]])})
                if (content := packed(entry)) in known:
                    equal.append(number)
                    continue
                known.add(content)
                repeated.append(number)
                entry = {**entry, _RECORD: f"annotation {number} (number {len(known)} of this id)"}
            first.setdefault(number, len(annotations))
            annotations.append(entry)
        self._note(repeated, "annotation ids are given twice; both masks are kept")
        self._note(equal, "annotations appear twice in the file; one of each is kept")
        return annotations

    def _note(self, ids: Iterable[Any], what: str) -> None:
        ids = sorted(ids, key=str)
        if ids:
            first = printable(", ".join(map(str, ids[:5]))) + (", ..." if len(ids) > 5 else "")
            self.notes.append(f"{len(ids)} {what}: {first}")


def file_name(image: dict[str, Any]) -> Any:
    """Where the picture of an image entry is; LVIS gives it as a URL alone."""
    return image.get("file_name") or image.get("coco_url")


def require_masks(path: Path) -> None:
    """Checks that the annotations of a json, if there are any, are instances. Reads all of it.

    Raises:
        DataError: none has a mask; the message says what they are instead.
    """
    entries = _entries(read_json(path, _REMEDY), "annotations", path)
    if annotations := [entry for entry in entries if isinstance(entry, dict)]:
        _require_masks(annotations, path)


def _require_masks(annotations: list[dict[Any, Any]], path: Path) -> None:
    if not any(has_mask(annotation.get("segmentation")) for annotation in annotations):
        raise DataError(
            f"{path}: {len(annotations)} annotations, none with a mask ('segmentation'). "
            f"{_other_kind(annotations)}Give an instances json; captions and boxes alone cannot be used."
        )


def _other_kind(annotations: list[dict[Any, Any]]) -> str:
    """What annotations without masks are, for the error."""
    if any("segments_info" in annotation for annotation in annotations):
        return (
            "It is COCO's panoptic layout, whose masks are PNG files: convert it with panopticapi's "
            "panoptic2detection_coco_format.py. "
        )
    if any("isfake" in annotation for annotation in annotations):
        return "It is Objects365, which has boxes alone. "
    return ""


def is_id(number: Any) -> bool:
    """Whether a JSON value can be an id: text or a whole number, which may be written as 1.0."""
    return isinstance(number, (int, str)) or (isinstance(number, float) and number.is_integer())


def of_id(found: Mapping[Any, Value], number: Any) -> Value | None:
    """The value of an id, which may be written as text or as a number; None if there is none."""
    if not is_id(number):
        return None
    if number in found:
        return found[number]
    if isinstance(number, str):
        written = number.isascii() and number.isdigit() and len(number) < 20 and str(int(number)) == number
        return found.get(int(number)) if written else None
    return found.get(str(int(number)))


def _entries(content: dict[str, Any], key: str, path: Path) -> list[Any]:
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise DataError(f"{path}: '{key}' is a {type(entries).__name__}, expected a list. {_REMEDY}")
    return entries

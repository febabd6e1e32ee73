"""COCO instances: any json with masks feeds the cycle."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from sa2va_native.datasets.reading.coco_file import CocoFile, is_id
from sa2va_native.datasets.reading.files import MAX_IMAGE_PIXELS, usable_text
from sa2va_native.datasets.reading.mask_codec import has_mask
from sa2va_native.datasets.reading.numbers import as_number
from sa2va_native.datasets.reading.packed_records import packed
from sa2va_native.datasets.reading.texts import unread_texts
from sa2va_native.datasets.reading.unchanged import shared
from sa2va_native.errors import BadSample, DataError, printable
from sa2va_native.structures import Sample


@DATASETS.register_module()
class CocoInstances:
    """Each annotation with a mask is one item (format: https://cocodataset.org/#format-data); boxes alone do not count.

    An annotation is a crowd if its ``iscrowd`` is a number other than 0, also as text, or the text "true".

    Two frames: an image may name the next frame of its clip as ``next_image_id``, and the annotations of one
    object share a ``track_id``. The annotation of the next frame is then the item's second side, and a frame that
    is the next frame of another image adds no items. An object that the next frame does not show is treated as a
    still picture. (An extension of this project; plain COCO files have neither key.)

    Args:
        ann_file: the json.
        image_root: folder of the pictures.
        min_area: smallest ``area`` of an annotation, px of the original picture; annotations without the key
            are kept.
        include_crowd: whether to keep ``iscrowd`` annotations; off by default, because a crowd is not a single
            object.
        text_key: key of an annotation's human text, e.g. ``"caption"`` in the generated scenes; None for masks
            without text. With a key, annotations that lack it are left out.
        max_pixels: largest picture that is decoded.

    Attributes:
        dropped: reason -> number of annotations that the arguments above leave out; logged.

    Raises:
        DataError: see ``CocoFile``; or the arguments above leave nothing.
    """

    def __init__(
        self,
        ann_file: str | Path,
        image_root: str | Path,
        min_area: float = 0.0,
        include_crowd: bool = False,
        text_key: str | None = None,
        max_pixels: int = MAX_IMAGE_PIXELS,
    ) -> None:
        self.file = shared(CocoFile, Path(ann_file), Path(image_root), max_pixels)
        self.text_key = text_key
        next_frames = {number for image in self.file.images if is_id(number := image.get("next_image_id"))}
        kept: list[int] = []
        pictures: list[int] = []
        numbers: dict[str, int] = {}
        self.dropped: Counter[str] = Counter()
        self._tracks: dict[tuple[Any, Any], list[int]] = defaultdict(list)
        for place, annotation in enumerate(self.file.annotations):
            image, track = annotation.get("image_id"), annotation.get("track_id")
            if is_id(image) and image in next_frames:
                if is_id(track):
                    self._tracks[image, track].append(place)
            elif "image_id" in annotation and not has_mask(annotation.get("segmentation")):
                self.dropped["without a mask"] += 1
            elif _area(annotation, min_area) < min_area:
                self.dropped[f"below min_area={min_area:g}"] += 1
            elif _is_crowd(annotation) and not include_crowd:
                self.dropped["crowds"] += 1
            elif text_key is not None and not annotation.get(text_key):
                self.dropped[f"without '{text_key}'"] += 1
            else:
                kept.append(place)
                pictures.append(numbers.setdefault(_key(image), len(numbers)) if is_id(image) else -1)
        self.items = self.file.annotations.pick(kept)
        self._pictures = np.array(pictures, np.int32)  #: number of each item's picture; -1 without a valid id
        if self.dropped:
            shown = ", ".join(f"{count:,} {reason}" for reason, count in sorted(self.dropped.items()))
            message = f"{self.file.path}: {len(self.items):,} annotations; dropped: {shown}"
            print_log(printable(message), logger="current")
        if not self.items:
            raise DataError(
                f"{self.file.path}: none of {len(self.file.annotations)} annotations is left with min_area={min_area}, "
                f"include_crowd={include_crowd}, text_key={text_key!r} (left out: {dict(self.dropped)}). Relax these "
                "settings; to use masks marked as crowds: pseudo-gumbel convert-data coco FILE --include-crowd."
            )

    def __len__(self) -> int:
        return len(self.items)

    def check_all(self) -> list[str]:
        """Problems that no single sample shows; reads every annotation, but no picture."""
        remedy = "text_key='{key}' of the adapter reads it"
        return [*self.file.notes, *unread_texts(self.items, {self.text_key}, remedy)]

    def area_share(self, index: int) -> float:
        """See ``MixtureDataset.area_share``."""
        return self.file.area_share(self.items[index])

    def pictures(self, indices: Sequence[int]) -> list[Hashable]:
        """See ``datasets.picture_order``; a picture's next frame is the same for all its objects."""
        return [None if number < 0 else number for number in self._pictures[list(indices)].tolist()]

    def picture_name(self, index: int) -> str | None:
        """See ``datasets.picture_share``."""
        return self.file.picture_name(self.items[index].get("image_id"))

    def by_picture(self) -> np.ndarray:
        """See ``datasets.picture_order``; the annotations of a json are in any order."""
        return np.argsort(self._pictures, kind="stable")

    def __getitem__(self, index: int) -> Sample:
        annotation = self.items[index]
        record, attributes = self.file.record(annotation), annotation.get("attributes", {})
        if not isinstance(attributes, dict):
            raise BadSample(str(self.file.path), record, "attributes are not an object of names and values")
        image = self.file.picture(annotation)
        second = self._next_frame(annotation)
        image2 = self.file.picture(second) if second else None
        mask, strays = self.file.mask(annotation, image)
        mask2, more = self.file.mask(second, image2) if second and image2 is not None else (None, ())
        return Sample(
            sample_id=f"{self.file.path.name}#{record}",
            image=image,
            mask=mask,
            text=usable_text(annotation[self.text_key], self.file.path, record) if self.text_key else None,
            image2=image2,
            mask2=mask2,
            attributes=attributes,
            strays=strays + more,
        )

    def others(self, index: int, sample: Sample) -> list[np.ndarray]:
        """Masks (H, W) of the other annotations of the mask side's picture, whatever their size and text; no crowds.

        Raises:
            BadSample: one of them cannot be read.
        """
        annotation = self._next_frame(self.items[index]) or self.items[index]
        picture = sample.image if sample.image2 is None else sample.image2
        return [
            self.file.mask(other, picture).mask
            for other in map(self.file.annotations.__getitem__, self._of_image[_key(annotation["image_id"])])
            if packed(other) != packed(annotation) and has_mask(other.get("segmentation")) and not _is_crowd(other)
        ]

    @cached_property
    def _of_image(self) -> dict[str, list[int]]:
        """The places of each picture's annotations."""
        places: dict[str, list[int]] = defaultdict(list)
        for place, annotation in enumerate(self.file.annotations):
            if is_id(image := annotation.get("image_id")):
                places[_key(image)].append(place)
        return dict(places)

    def _next_frame(self, annotation: dict[str, Any]) -> dict[str, Any] | None:
        next_image, track = self.file.image(annotation).get("next_image_id"), annotation.get("track_id")
        found = self._tracks.get((next_image, track), []) if is_id(next_image) and is_id(track) else []
        if len(found) > 1:
            raise BadSample(
                str(self.file.path),
                self.file.record(annotation),
                f"track_id {track!r} is given to {len(found)} annotations of the next frame",
            )
        return self.file.annotations[found[0]] if found else None


def _key(number: Any) -> str:
    """One key for an id that is written as text or as a number."""
    return number if isinstance(number, str) else str(int(number))


def _area(annotation: dict[str, Any], default: float) -> float:
    area = as_number(annotation.get("area"))
    return default if area is None else area


def _is_crowd(annotation: dict[str, Any]) -> bool:
    value = annotation.get("iscrowd")
    return bool(as_number(value)) or (isinstance(value, str) and value.strip().lower() == "true")

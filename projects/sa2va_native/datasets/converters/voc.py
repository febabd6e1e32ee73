"""PASCAL VOC segmentations -> own data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from sa2va_native.datasets.converters.convert import Converted
from sa2va_native.datasets.reading.files import inside, read_labels, read_picture, require_own
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.errors import BadSample, DataError

_VOID = 255
_VOID_COLOUR = 224 << 16 | 224 << 8 | 192  # the colour of the border in VOC's colour map
_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".webp", ".bmp")


@dataclass
class VocConverter:
    """Each object of each ``SegmentationObject/NAME.png`` is a record; its picture is ``JPEGImages/NAME.jpg``.

    A picture may also be a PNG, WebP or BMP. Both folders are in the root or in subfolders of it, e.g. ``VOC2012`` in
    ``VOCdevkit``. A pixel of the PNG is the number of its object; 0 is the background and 255 the void border between
    objects (format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html). If pixels are colours, as
    Datumaro writes them, each colour is an object, except black and the border colour 224, 224, 192.

    Raises:
        DataError: from ``sources``, if there are no such files.
    """

    root: Path
    parallel = True

    def sources(self) -> Sequence[str]:
        """Names of the pictures with masks, prefixed by their folder if it is not the root."""
        folders = [self.root, *sorted(folder for folder in self.root.iterdir() if folder.is_dir())]
        files = (file for folder in folders for file in sorted((folder / "SegmentationObject").glob("*.png")))
        names = [(file.parent.parent.relative_to(self.root) / file.stem).as_posix() for file in files]
        if not names:
            raise DataError(
                f"{self.root}: nothing to convert: no SegmentationObject/*.png in it or in a subfolder. "
                "Give the folder that contains SegmentationObject and JPEGImages, e.g. VOCdevkit/VOC2012."
            )
        return names

    def convert(self, source: str) -> Converted:
        folder, name = PurePosixPath(source).parent, PurePosixPath(source).name
        try:
            picture = self._picture((folder / "JPEGImages" / name).as_posix(), source)
            labels = self.root / folder / "SegmentationObject" / f"{name}.png"
            require_own(self.root, labels, source)
            masks = list(_objects(labels, source))
        except BadSample as bad:
            return Converted([], [bad])
        return Converted([{"image": picture, "mask": encode_mask(mask), "id": id_} for id_, mask in masks], [])

    def _picture(self, stem: str, source: str) -> str:
        there = [stem + suffix for suffix in _SUFFIXES if (self.root / (stem + suffix)).exists()]
        picture = (there or [f"{stem}.jpg"])[0]
        inside(self.root, picture, self.root / picture, source)
        return picture


def _objects(file: Path, source: str) -> Iterator[tuple[str, np.ndarray]]:
    """Name and mask, bool (H, W), of each object."""
    try:
        labels = read_labels(file, source)
    except BadSample as bad:
        if not bad.reason.startswith("labels of shape"):
            raise
        labels = _numbered(read_picture(file, source), file, source)
    for number in np.unique(labels):
        if number not in (0, _VOID):
            yield f"{source} object {number}", labels == number


def _numbered(pixels: np.ndarray, file: Path, source: str) -> np.ndarray:
    """Colours (H, W, 3) -> object numbers (H, W): 0 outside, objects from 1 in the order of their colour values."""
    colours = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
    values = [value for value in np.unique(colours) if value not in (0, _VOID_COLOUR)]
    if len(values) >= _VOID:
        raise BadSample(
            str(file), source, f"labels of {len(values)} colours; save them as PNG, one colour per object, unsmoothed"
        )
    numbers = np.zeros(colours.shape, np.uint8)
    for number, value in enumerate(values, 1):
        numbers[colours == value] = number
    return numbers

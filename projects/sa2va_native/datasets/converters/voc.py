"""PASCAL VOC segmentations -> own data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sa2va_native.datasets.converters.convert import Converted
from sa2va_native.datasets.converters.label_masks import label_masks
from sa2va_native.datasets.converters.twin_folders import picture_named
from sa2va_native.datasets.reading.files import require_own
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.errors import BadSample, DataError


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
            picture = picture_named(self.root, (folder / "JPEGImages" / name).as_posix(), source)
            labels = self.root / folder / "SegmentationObject" / f"{name}.png"
            require_own(self.root, labels, source)
            masks = list(label_masks(labels, source, self.root / picture))
        except BadSample as bad:
            return Converted([], [bad])
        records = [
            {"image": picture, "mask": encode_mask(mask), "id": f"{source} object {number}"} for number, mask in masks
        ]
        return Converted(records, [])

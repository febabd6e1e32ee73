"""A folder of pictures beside a folder of label pictures -> own data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sa2va_native.datasets.converters.convert import Converted
from sa2va_native.datasets.converters.label_masks import label_masks
from sa2va_native.datasets.converters.twin_folders import label_files, twin
from sa2va_native.datasets.reading.files import require_own
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.errors import BadSample, DataError

_LOSSY = (".jpg", ".jpeg")


@dataclass
class IdMaskConverter:
    """Each object of each ``masks/NAME.png`` is a record; its picture is ``images/NAME.jpg`` (or PNG, WebP, BMP).

    Both folders may have subfolders, or be subfolders: ``masks/train/1.png``, ``train/masks/1.png``. A pixel of the PNG
    is the number or the colour of its object; 0 and black are the background. Of 8 bits, 255 beside other numbers is a
    border; alone, it is the object. A PNG of the background alone is reported, and so is a JPEG.

    Args:
        root: contains both folders.
        split: see :func:`label_files`.

    Raises:
        DataError: from ``sources``, if there are no such files.
    """

    root: Path
    split: str | None = None
    parallel = True

    def sources(self) -> Sequence[str]:
        """The label pictures, relative to the root."""
        if names := label_files(self.root, "masks", (".png", *_LOSSY), self.split):
            return names
        raise DataError(
            f"{self.root}: nothing to convert: no PNG in a folder masks/. Give the folder that contains images/ and "
            "masks/, with a PNG of the name of each picture."
        )

    def convert(self, source: str) -> Converted:
        labels = self.root / source
        try:
            if labels.suffix.lower() in _LOSSY:
                raise BadSample(str(labels), source, "a JPEG blurs the numbers at the objects' edges. Save it as PNG")
            picture = twin(self.root, source, "masks", "images")
            require_own(self.root, labels, source)
            masks = list(label_masks(labels, source, self.root / picture, lone_void=True))
            if not masks:
                raise BadSample(str(labels), source, "empty mask: no object in it")
        except BadSample as bad:
            return Converted([], [bad])
        records = [
            {"image": picture, "mask": encode_mask(mask), "id": f"{source} object {number}"} for number, mask in masks
        ]
        return Converted(records, [])

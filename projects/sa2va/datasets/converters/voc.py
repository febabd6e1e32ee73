"""PASCAL VOC segmentations -> own data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from projects.sa2va.datasets.converters.convert import Converted
from projects.sa2va.datasets.reading.files import inside, read_labels
from projects.sa2va.datasets.reading.mask_codec import encode_mask
from projects.sa2va.errors import BadSample

_VOID = 255


@dataclass
class VocConverter:
    """Each object of each ``SegmentationObject/NAME.png`` is a record; its picture is ``JPEGImages/NAME.jpg``.

    The pixels of the PNG are the numbers of the objects, 0 the background and 255 the void border between them
    (format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html).
    """

    root: Path
    parallel = True

    def sources(self) -> Sequence[str]:
        """Names of the pictures with masks."""
        return sorted(path.stem for path in (self.root / "SegmentationObject").glob("*.png"))

    def convert(self, source: str) -> Converted:
        picture, file = f"JPEGImages/{source}.jpg", self.root / "SegmentationObject" / f"{source}.png"
        try:
            inside(self.root, picture, file, source)
            labels = read_labels(file, source)
        except BadSample as bad:
            return Converted([], [bad])
        numbers = [int(number) for number in np.unique(labels) if number not in (0, _VOID)]
        return Converted(
            [
                {"image": picture, "mask": encode_mask(labels == number), "id": f"{source} object {number}"}
                for number in numbers
            ],
            [],
        )

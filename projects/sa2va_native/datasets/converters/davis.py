"""Label pictures of the frames of clips, as DAVIS and YouTube-VOS have them -> own data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from sa2va_native.datasets.converters.convert import Converted
from sa2va_native.datasets.converters.label_masks import label_masks
from sa2va_native.datasets.converters.twin_folders import label_files, twin
from sa2va_native.datasets.reading.files import require_own
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.errors import BadSample, DataError


@dataclass
class DavisConverter:
    """Each object in each frame of ``Annotations/CLIP/FRAME.png`` is a record; pictures are ``JPEGImages/CLIP/FRAME``.

    There may be folders between, as DAVIS's ``480p``. A pixel is the number of its object, which it keeps through the
    clip; 255 is a border. The same object in the frame ``frame_gap`` annotated frames later is the record's second
    side; where it is not to be seen there, or the clip ends before, the record is a still picture.

    Args:
        root: contains both folders.
        split: see :func:`label_files`.
        frame_gap: annotated frames between the two sides, at least 1. DAVIS annotates every frame, YouTube-VOS every
            fifth.

    Raises:
        DataError: from ``sources``, if there are no such files.
    """

    root: Path
    split: str | None = None
    frame_gap: int = 5
    parallel = True

    def sources(self) -> Sequence[str]:
        """The folders of the clips, relative to the root."""
        files = label_files(self.root, "Annotations", (".png",), self.split)
        if clips := sorted({PurePosixPath(file).parent.as_posix() for file in files}):
            return clips
        raise DataError(
            f"{self.root}: nothing to convert: no Annotations/**/*.png. Give the folder that contains Annotations and "
            "JPEGImages, each with a folder for each clip."
        )

    def convert(self, source: str) -> Converted:
        bad: list[BadSample] = []
        frames: list[tuple[str, dict[int, np.ndarray]]] = []
        for labels in sorted((self.root / source).glob("*.png")):
            record = f"{source}/{labels.name}"
            try:
                picture = twin(self.root, record, "Annotations", "JPEGImages")
                require_own(self.root, labels, record)
                frames.append((picture, dict(label_masks(labels, record, self.root / picture))))
            except BadSample as error:
                bad.append(error)
                frames.append(("", {}))
        later = [*frames[self.frame_gap :], *[("", {})] * self.frame_gap]
        records = [
            {**_side(picture, mask, ""), **_side(second, masks2.get(number), "2"), "id": f"{picture} object {number}"}
            for (picture, masks), (second, masks2) in zip(frames, later, strict=False)
            for number, mask in masks.items()
        ]
        return Converted(records, bad)


def _side(picture: str, mask: np.ndarray | None, which: str) -> dict[str, Any]:
    """The keys of one side of a record; none if the object is not to be seen."""
    return {} if mask is None else {f"image{which}": picture, f"mask{which}": encode_mask(mask)}

"""DAVIS-17: every object of every clip, from its mask in the first frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmengine.registry import DATASETS

from sa2va_native.datasets.reading.clip_frames import read_clip, read_clip_labels
from sa2va_native.datasets.reading.files import MAX_IMAGE_PIXELS, inside, read_labels, require_folder
from sa2va_native.errors import BadSample, DataError
from sa2va_native.structures import Sample

#: Values of a label picture that are no object: the background, and what is not judged.
_NO_OBJECT = (0, 255)


@DATASETS.register_module()
class DavisObjects:
    """Each object of each clip is one item, for sources of kind ``clip``; it has no text, so its first mask is given.

    The objects of a clip are the values of its first label picture. A sample's ``image`` is uint8 (F, H, W, 3) and its
    ``mask`` bool (F, H, W). A frame or label picture that is missing, broken or of another size makes the objects of
    its clip bad samples.

    Args:
        names: text file with the name of a clip on each line, as DAVIS-17's ``ImageSets/2017/val.txt``.
        image_root: folder with ``NAME/00000.jpg`` and so on.
        mask_root: folder with ``NAME/00000.png``: palette pictures, one for each frame.
        max_pixels: largest picture that is decoded.

    Raises:
        DataError: a file or folder that is missing, or a clip without a frame, or without an object in its first one.
    """

    def __init__(
        self,
        names: str | Path,
        image_root: str | Path,
        mask_root: str | Path,
        max_pixels: int = MAX_IMAGE_PIXELS,
    ) -> None:
        self.path, self.max_pixels = Path(names), max_pixels
        self.image_root = require_folder(Path(image_root), f"Give the folder with the frames of {self.path}.")
        self.mask_root = require_folder(Path(mask_root), f"Give the folder with the masks of {self.path}.")
        try:
            clips = self.path.read_text(encoding="utf-8").split()
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path}: unreadable ({error}). Expected the name of a clip on each line.") from error
        self._frames = {name: sorted(file.stem for file in (self.image_root / name).glob("*.jpg")) for name in clips}
        self._items = [(name, value) for name in clips for value in self._objects(name)]
        if not self._items:
            raise DataError(f"{self.path}: names no clip.")

    def _objects(self, name: str) -> list[int]:
        if not self._frames[name]:
            raise DataError(f"{self.image_root / name}: no frames, but {self.path} names this clip.")
        try:
            file = inside(self.mask_root, f"{name}/{self._frames[name][0]}.png", self.path, name)
            values = np.unique(read_labels(file, name, self.max_pixels))
        except BadSample as error:
            raise DataError(f"{error}. Without its first mask no object of this clip can be followed.") from error
        if not (found := [int(value) for value in values if value not in _NO_OBJECT]):
            raise DataError(f"{self.mask_root / name}: no object in the first mask, so there is nothing to follow.")
        return found

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Sample:
        name, value = self._items[index]
        frames = self._frames[name]
        pictures = read_clip(
            self.image_root, [f"{name}/{frame}.jpg" for frame in frames], self.path, name, self.max_pixels
        )
        files = [f"{name}/{frame}.png" for frame in frames]
        labels = read_clip_labels(self.mask_root, files, pictures.shape[1:3], self.path, name, self.max_pixels)
        return Sample(f"{self.path.name}#{name} object {value}", pictures, labels == value)

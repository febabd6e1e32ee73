"""The frames of a clip, and its label pictures, as arrays."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sa2va_native.datasets.reading.files import inside, read_labels, read_picture
from sa2va_native.errors import BadSample


def read_clip(root: Path, names: Iterable[str], source: Path, record: str, max_pixels: int) -> np.ndarray:
    """Frames below ``root``, uint8 RGB (F, H, W, 3).

    Args:
        names: of the files; at least one.
        source: the file of the record, for the error.

    Raises:
        BadSample: one is missing, broken or larger than ``max_pixels``, or they are of several sizes.
    """
    pictures = [read_picture(inside(root, name, source, record), record, None, max_pixels) for name in names]
    if len({picture.shape for picture in pictures}) > 1:
        raise BadSample(str(source), record, "frames of several sizes")
    return np.stack(pictures)


def read_clip_labels(
    root: Path, names: Iterable[str], size: tuple[int, ...], source: Path, record: str, max_pixels: int
) -> np.ndarray:
    """Label pictures below ``root`` for frames of ``size`` (H, W), as whole numbers (F, H, W).

    Args:
        names: of the files; at least one.
        source: the file of the record, for the error.

    Raises:
        BadSample: one is missing, broken or of another size.
    """
    clip = []
    for name in names:
        file = inside(root, name, source, record)
        labels = read_labels(file, record, max_pixels)
        if labels.shape != size:
            raise BadSample(str(file), record, f"mask of size {labels.shape} on a frame of size {size}")
        clip.append(labels)
    return np.stack(clip)

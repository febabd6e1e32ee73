"""Label pictures, in which a pixel says to which object it belongs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sa2va_native.datasets.converters.twin_folders import size_of
from sa2va_native.datasets.reading.files import read_labels, read_picture
from sa2va_native.errors import BadSample

_VOID = 255
_VOID_COLOUR = 224 << 16 | 224 << 8 | 192  # the colour of the border in VOC's colour map


def label_masks(file: Path, record: str, picture: Path, lone_void: bool = False) -> Iterator[tuple[int, np.ndarray]]:
    """Number and mask, bool (H, W), of each object of a label picture: palette indices or grey values, else colours.

    0 and black are the background. Of 8 bits, 255 is the border between objects, as is the colour 224, 224, 192.

    Args:
        picture: whose objects these are; only its header is read.
        lone_void: whether 255 is an object if there is no other, as in a mask of black and white.

    Raises:
        BadSample: unreadable, of another size than its picture, or of so many colours that they cannot be labels.
    """
    try:
        labels = read_labels(file, record)
    except BadSample as bad:
        if not bad.reason.startswith("labels of shape"):
            raise
        labels = _numbered(read_picture(file, record), file, record)
    sizes = {size_of(picture, file, record, turned) for turned in (False, True)}
    if labels.shape not in sizes:
        raise BadSample(str(file), record, f"mask of size {labels.shape} on a picture of size {min(sizes)}")
    numbers = [int(number) for number in np.unique(labels) if number]
    if labels.itemsize == 1 and not (lone_void and numbers == [_VOID]):
        numbers = [number for number in numbers if number != _VOID]
    for number in numbers:
        yield number, labels == number


def _numbered(pixels: np.ndarray, file: Path, record: str) -> np.ndarray:
    """Colours (H, W, 3) -> object numbers (H, W): 0 outside, objects from 1 in the order of their colour values."""
    colours = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
    values = [value for value in np.unique(colours) if value not in (0, _VOID_COLOUR)]
    if len(values) >= _VOID:
        raise BadSample(
            str(file), record, f"labels of {len(values)} colours; save them as PNG, one colour per object, unsmoothed"
        )
    numbers = np.zeros(colours.shape, np.uint8)
    for number, value in enumerate(values, 1):
        numbers[colours == value] = number
    return numbers

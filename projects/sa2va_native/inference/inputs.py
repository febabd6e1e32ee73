"""What people give to inference: taken where its meaning is clear, else one clear error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sa2va_native.datasets.reading.files import over_white, read_mask, read_upright, rgb_pixels
from sa2va_native.errors import BadSample, InputError
from sa2va_native.inference.clips import read_clip


def picture_pixels(picture: Any) -> np.ndarray:
    """A picture as uint8 RGB (H, W, 3).

    Args:
        picture: a path, of a file that is read as viewers show it; a Pillow picture, by the rules of files; or an
            array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), whose fourth channel is its opacity over white. Integers
            are levels 0..255, bool and floats up to 1 are shares of white, larger floats levels. uint16 has its full
            range, of which the high byte is used.

    Raises:
        InputError: another type or shape, a file that cannot be read, values out of range, or a uint16 array without
            a value above 255, which may be either.
    """
    if isinstance(picture, (str, Path)):
        return _file(read_upright, picture, "picture")
    if isinstance(picture, Image.Image):
        try:
            return rgb_pixels(picture)
        except ValueError as error:
            raise InputError(str(error)) from error
    if isinstance(picture, bytes) or not hasattr(picture, "__array__"):
        raise InputError(
            f"a {type(picture).__name__} as a picture; give a path, an array (H, W, 3) of uint8, or a Pillow picture"
        )
    array = _array(picture, "picture")
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise InputError(f"picture of shape {array.shape}, expected (height, width), or with 3 or 4 channels last")
    levels = _levels(array)
    if levels.shape[2] == 4:
        return over_white(Image.fromarray(levels, "RGBA"))
    return levels if levels.shape[2] == 3 else np.repeat(levels, 3, axis=2)


def frames_pixels(frames: str | Path | Iterable[Any]) -> list[np.ndarray]:
    """The frames of a clip, each as :func:`picture_pixels` gives it.

    Args:
        frames: pictures; or the path of a video, or of a folder of frames.

    Raises:
        InputError: no frame, a single picture, frames of different sizes, or one that is no picture.
    """
    if isinstance(frames, (str, Path)):
        frames = read_clip(frames)
    shape: tuple[int, ...] = getattr(frames, "shape", ())
    if isinstance(frames, Image.Image) or (len(shape) == 3 and shape[2] in (3, 4)):
        raise InputError("a single picture as a clip; give a list of pictures")
    pictures = [picture_pixels(frame) for frame in _listed(frames, "frames")]
    if not pictures:
        raise InputError("a clip without a frame; give at least one picture")
    for number, picture in enumerate(pictures):
        if picture.shape != pictures[0].shape:
            (height, width), (first_height, first_width) = picture.shape[:2], pictures[0].shape[:2]
            raise InputError(
                f"frame {number} has {width} x {height} px and frame 0 {first_width} x {first_height}; "
                "give frames of one size"
            )
    return pictures


def expression_texts(expressions: str | Sequence[str]) -> list[str]:
    """The expressions; a single text is one of them.

    Raises:
        InputError: one is not a text, or blank.
    """
    texts = [expressions] if isinstance(expressions, str) else _listed(expressions, "expressions")
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"expression {number} is a {type(text).__name__}, expected a text")
        if not text.strip():
            raise InputError(f"expression {number} is empty; say which object is meant")
    return texts


def region_masks(masks: Any, picture: np.ndarray) -> list[np.ndarray | None]:
    """The masks of regions, each bool (H, W); None stays None, as ``segment_image`` answers without a mask.

    Args:
        masks: masks (H, W), Pillow's too, or paths, or a single one, or one array (N, H, W): bool, numbers 0..1 with
            the object above 0.5, or numbers 0..255 with the object above 127.5. A file has one value besides 0.
        picture: (H, W, 3).

    Raises:
        InputError: no mask, not of the picture's size, or a map of labels.
    """
    is_one = isinstance(masks, (str, Path, Image.Image)) or getattr(masks, "ndim", 3) == 2
    masks = [masks] if is_one else _listed(masks, "masks")
    return [None if mask is None else _region(mask, number, picture) for number, mask in enumerate(masks)]


def _region(mask: Any, number: int, picture: np.ndarray) -> np.ndarray:
    if isinstance(mask, (str, Path)):
        mask = _file(read_mask, mask, f"mask {number}")
    array, (height, width) = _array(mask, f"mask {number}"), picture.shape[:2]
    if array.dtype.kind not in "buif" or array.shape != (height, width):
        raise InputError(
            f"mask {number} is {array.dtype} of shape {array.shape}, and the picture has {width} x {height} px; "
            f"give bool of shape {(height, width)}"
        )
    if array.dtype == bool:
        return array
    lowest, highest = float(array.min()), float(array.max())
    if not 0 <= lowest <= highest <= 255:  # also false for NaN
        raise InputError(f"mask {number} has values from {lowest:g} to {highest:g}, expected 0 to 1 or 0 to 255")
    if 1 < highest <= 127.5:
        raise InputError(
            f"mask {number} has no value above {highest:g}, so no object of 0 to 255; of a map of labels give one, as "
            "mask == 2"
        )
    region: np.ndarray = array > (0.5 if highest <= 1 else 127.5)
    return region


def _file(read: Callable[[Path, str], np.ndarray], path: str | Path, what: str) -> np.ndarray:
    try:
        return read(Path(path).expanduser(), what)
    except BadSample as error:
        raise InputError(str(error)) from error


def _array(value: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except (TypeError, RuntimeError, ValueError) as error:  # of torch: on a GPU, bfloat16, with a gradient
        reason = str(error).splitlines()[0]
        raise InputError(f"{what}: a {type(value).__name__} that is no array ({reason}); give one of numpy") from error


def _listed(values: Any, what: str) -> list[Any]:
    try:
        return list(values)
    except TypeError as error:
        raise InputError(f"a {type(values).__name__} as {what}; give a list of them") from error


def _levels(array: np.ndarray) -> np.ndarray:
    """uint8 of the same shape."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "buif":
        raise InputError(f"picture of type {array.dtype}, expected numbers")
    lowest, highest = float(array.min()), float(array.max())
    if array.dtype == np.uint16:
        if highest <= 255:
            raise InputError(
                f"uint16 picture whose highest value is {highest:g}: levels of 8 bits, or a dark picture of 16? "
                "Convert it to uint8"
            )
        return (array >> 8).astype(np.uint8)
    if not 0 <= lowest <= highest <= 255:  # also false for NaN
        raise InputError(f"picture with values from {lowest:g} to {highest:g}, expected 0 to 1 or 0 to 255")
    share = array.dtype.kind in "bf" and highest <= 1
    return np.round(array.astype(np.float32) * (255 if share else 1)).astype(np.uint8)

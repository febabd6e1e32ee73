"""SA-V as pair files: each holds one object in two frames of a video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from mmengine.registry import DATASETS

from sa2va_native.datasets.indexing.file_parts import file_parts
from sa2va_native.datasets.indexing.index import Entry
from sa2va_native.datasets.indexing.indexed_set import IndexedSet
from sa2va_native.datasets.reading.files import MAX_IMAGE_PIXELS, require_folder, require_own
from sa2va_native.errors import BadSample
from sa2va_native.structures import Sample

#: The arrays of a pair file.
ARRAYS = ("frame1", "mask1", "frame2", "mask2")
#: Largest array that is unpacked, in bytes; a small file can unpack to many GB.
_MAX_BYTES = 4 * MAX_IMAGE_PIXELS
_REMEDY = "Expected masklet_data_*.npz, in folders of any depth; pseudo-gumbel convert-sav makes them."


@DATASETS.register_module()
class SavPairs(IndexedSet):
    """Each ``*.npz`` below ``root`` is one item: ``frame1, mask1`` is its caption side, the rest its mask side.

    Frames are (H, W, 3) and masks (H, W), of any of these types:

    * frame: integers are levels 0..255; floats up to 1 are fractions of white, larger floats are levels;
    * mask: bool; or numbers 0..1 with the object above 0.5; or numbers 0..255 with the object above 127.5.

    Anything else is a bad sample: other values, another type (arrays of Python objects are never unpickled), a mask
    whose size differs from its frame's, or an object that is not visible in both frames.

    Args:
        root: folder of the pair files.
        index_dir: see ``open_index``.

    Raises:
        DataError: a missing folder, or no pair file in it.
        ConfigError: see ``open_index``.
    """

    def __init__(self, root: str | Path, index_dir: str | Path | None = None) -> None:
        self.root = require_folder(Path(root), _REMEDY)
        self._open_index(self.root, index_dir, {}, {"path": pa.string()}, self._parts, _REMEDY)

    def __getitem__(self, index: int) -> Sample:
        name = self._row(index, "path")["path"]
        require_own(self.root, self.root / name, "pair")
        pair = read_pair(self.root / name)
        return Sample(name, pair["frame1"], pair["mask1"], image2=pair["frame2"], mask2=pair["mask2"])

    def _parts(self) -> Iterator[Any]:
        return file_parts(self.root, ".npz", self._records)

    def _records(self, folder: Path, names: list[str]) -> Iterator[Entry]:
        inside = folder.relative_to(self.root)
        return ({"path": (inside / name).as_posix()} for name in names)


def read_pair(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a pair file: frames uint8 (H, W, 3), masks bool (H, W).

    Raises:
        BadSample: see ``SavPairs``.
    """
    arrays = _load(path)
    for number in "12":
        frame, mask = f"frame{number}", f"mask{number}"
        try:
            arrays[frame], arrays[mask] = as_picture(arrays[frame]), as_mask(arrays[mask])
        except ValueError as error:
            raise BadSample(str(path), f"{frame} and {mask}", str(error)) from error
        if arrays[frame].shape[:2] != arrays[mask].shape:
            raise BadSample(
                str(path), mask, f"mask of size {arrays[mask].shape} on a frame of size {arrays[frame].shape[:2]}"
            )
    return arrays


def as_picture(array: np.ndarray) -> np.ndarray:
    """Converts to uint8 (H, W, 3) by the rule of ``SavPairs``.

    Raises:
        ValueError: it does not fit the rule; says why.
    """
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise ValueError(f"frame of shape {array.shape}, expected (height, width, 3)")
    height, width = array.shape[:2]
    if height * width > MAX_IMAGE_PIXELS:
        raise ValueError(f"{width} x {height} px is above {MAX_IMAGE_PIXELS} px")
    highest = _highest(array, "frame", "uif")
    if array.dtype.kind == "f":
        array = np.round(array.astype(np.float32) * (255 if highest <= 1 else 1))
    return np.ascontiguousarray(array, dtype=np.uint8)


def as_mask(array: np.ndarray) -> np.ndarray:
    """Converts to bool (H, W) by the rule of ``SavPairs``; a third axis of length 1, first or last, is removed.

    Raises:
        ValueError: it does not fit the rule; says why.
    """
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[2]):
        array = array[..., 0] if array.shape[2] == 1 else array[0]
    if array.ndim != 2 or not array.size:
        raise ValueError(f"mask of shape {array.shape}, expected (height, width)")
    highest = _highest(array, "mask", "buif")
    mask = array > (0.5 if highest <= 1 else 127.5)
    if not mask.any():
        raise ValueError(f"empty mask: its highest value is {highest:g}, of 1 or of 255")
    return mask


def _highest(array: np.ndarray, what: str, kinds: str) -> float:
    if array.dtype.kind not in kinds:
        raise ValueError(f"{what} of type {array.dtype}, expected numbers")
    lowest, highest = float(array.min()), float(array.max())
    if not 0 <= lowest <= highest <= 255:  # also false for NaN
        raise ValueError(f"{what} with values from {lowest:g} to {highest:g}, expected 0 to 1 or 0 to 255")
    return highest


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile) or file.zip is None:
                raise ValueError("a single array, expected an archive of four")
            missing = [name for name in ARRAYS if name not in file]
            if missing:
                raise ValueError(f"without {', '.join(missing)}; it has {', '.join(file) or 'nothing'}")
            largest = max(info.file_size for info in file.zip.infolist())
            if largest > _MAX_BYTES:
                raise ValueError(f"an array of {largest} bytes, above {_MAX_BYTES}")
            return {name: file[name] for name in ARRAYS}
    # on broken bytes zipfile and numpy raise nearly anything: BadZipFile, zlib.error, SyntaxError, MemoryError, ...
    except Exception as error:
        raise BadSample(str(path), "pair", f"unreadable npz ({type(error).__name__}: {error})") from error

"""Open Images V7: photographs with segmented objects of 350 classes."""

from __future__ import annotations

import csv
import functools
import zlib
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from mmengine.registry import DATASETS
from PIL import Image

from sa2va_native.datasets.indexing.index import Entry, Part
from sa2va_native.datasets.indexing.indexed_set import AREA_SHARE, IndexedSet
from sa2va_native.datasets.reading.files import inside, read_mask, read_picture, require_folder, usable_text
from sa2va_native.datasets.reading.object_limits import Dropped, ObjectLimits
from sa2va_native.datasets.reading.unchanged import stamp
from sa2va_native.errors import BadSample, DataError, did_you_mean
from sa2va_native.structures import Sample

_COLUMNS = {"image": pa.string(), "mask": pa.string(), "text": pa.string(), AREA_SHARE: pa.float64()}
_BOX = ("BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax")
#: Bytes; a sparse file is one line of terabytes.
_LONGEST_LINE = 1 << 20
#: Both contain LabelName and DisplayName; the second has no header.
_CLASS_FILES = ("oidv7-class-descriptions.csv", "class-descriptions-boxable.csv")
_REMEDY = "Expected SPLIT-annotations-object-segmentation.csv, images/SPLIT/ImageID.jpg and masks/SPLIT/MaskPath."


@DATASETS.register_module()
class OpenImages(IndexedSet):
    """Each line of ``{split}-annotations-object-segmentation.csv`` is one item.

    Format: https://storage.googleapis.com/openimages/web/download_v7.html.

    The size of a mask often differs from its photograph's. The mask is then resized (nearest pixel). The shapes must
    agree to within 2 % or a pixel; otherwise the mask belongs to another picture and is a bad sample.

    A line with too few or too many fields, an open quote or invalid UTF-8 is one bad sample; a record never continues
    on the next line, whatever its quotes. A ``MaskPath`` that an earlier line already has is left out and counted.

    Args:
        root: folder of the csv, ``images`` and ``masks``.
        split: ``train``, ``validation`` or ``test``.
        index_dir: see ``open_index``.
        class_names: whether to use the name of an object's class as its text, from
            ``oidv7-class-descriptions.csv`` or ``class-descriptions-boxable.csv``; objects of a class without a name
            are left out.
        min_area_share, max_area_share: see ``ObjectLimits``; applied to the object's box, as the csv gives no area.
        min_predicted_iou: see ``ObjectLimits``.

    Raises:
        DataError: a missing folder or csv, a missing column, or no usable line.
        ConfigError: see ``open_index`` and ``ObjectLimits``.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        index_dir: str | Path | None = None,
        class_names: bool = False,
        min_area_share: float = 0.0,
        max_area_share: float = 1.0,
        min_predicted_iou: float = 0.0,
    ) -> None:
        self.root = require_folder(Path(root), _REMEDY)
        self.csv = self.root / f"{split}-annotations-object-segmentation.csv"
        if not self.csv.is_file():
            raise DataError(f"{self.csv}: no such file. {_REMEDY}")
        self.images = require_folder(self.root / "images" / split, _REMEDY)
        self.masks = require_folder(self.root / "masks" / split, _REMEDY)
        self.limits = ObjectLimits(min_area_share, max_area_share, {"predicted_iou": min_predicted_iou})
        self.class_file = self._class_file() if class_names else None
        settings = {"split": split, "class_names": class_names, **self.limits.settings()}
        self._open_index(self.root, index_dir, settings, _COLUMNS, self._parts, f"Check {self.csv.name}.")

    def __getitem__(self, index: int) -> Sample:
        row = self.index[index]
        record = f"mask {row['mask']}"
        image = read_picture(inside(self.images, f"{row['image']}.jpg", self.csv, record), record)
        mask_file = inside(self.masks, row["mask"], self.csv, record)
        try:
            mask = fit_mask(read_mask(mask_file, record), image.shape[0], image.shape[1])
        except ValueError as error:
            raise BadSample(str(mask_file), record, str(error)) from error
        text = None if row["text"] is None else usable_text(row["text"], self.csv, record)
        return Sample(f"{self.csv.name}#{row['mask']}", image, mask, text)

    def picture_name(self, index: int) -> str | None:
        """See ``datasets.picture_share``."""
        ((_, name),) = self.index.values([index], "image")
        return name or None

    def pictures(self, indices: Sequence[int]) -> list[Hashable]:
        """See ``datasets.picture_order``."""
        return [image for _, image in self.index.values(indices, "image")]

    def by_picture(self) -> np.ndarray:
        """See ``datasets.picture_order``; the csv is in no order. Reads the index, and takes 8 bytes an item."""
        codes = self.index.column("image").dictionary_encode().combine_chunks().indices
        return np.argsort(codes.fill_null(-1).to_numpy(zero_copy_only=False), kind="stable")

    def _class_file(self) -> Path:
        found = [self.root / name for name in _CLASS_FILES if (self.root / name).is_file()]
        if not found:
            raise DataError(f"{self.root}: class_names needs {' or '.join(_CLASS_FILES)}, and neither is there.")
        return found[0]

    def _parts(self) -> Iterator[Part]:
        files = [self.csv] if self.class_file is None else [self.csv, self.class_file]
        yield Part(self.csv.name, {file: stamp(file) for file in files}, self._records)

    def _records(self) -> Iterator[Entry]:
        names = None if self.class_file is None else dict(_class_names(self.class_file))
        repeated, met = self._repeated(), set()
        for line, row in self._lines():
            if isinstance(row, BadSample):
                yield row
                continue
            mask, share = row["MaskPath"], _box_share(row)
            try:
                left_out = self._left_out(row, share)
            except ValueError as error:
                yield BadSample(str(self.csv), f"line {line}", str(error))
                continue
            if zlib.crc32(mask.encode()) in repeated:
                left_out = "with a MaskPath that an earlier line has" if mask in met else left_out
                met.add(mask)
            text = None if names is None else names.get(row["LabelName"])
            if names is not None and not text:
                left_out = left_out or "of a class without a name"
            record = {"image": row["ImageID"], "mask": mask, "text": text, AREA_SHARE: share}
            yield Dropped(left_out) if left_out else record

    def _left_out(self, row: dict[str, str], share: float | None) -> str | None:
        if self.limits.asks_area:
            if share is None:
                raise ValueError(f"the limits of area need numbers in {', '.join(_BOX)}")
            if reason := self.limits.outside_area(share):
                return reason
        return self.limits.below_score({"predicted_iou": row.get("PredictedIoU")})

    def _repeated(self) -> set[int]:
        """Checksums that occur more than once: enough to recognise a repeated ``MaskPath``, in little memory."""
        sums = (zlib.crc32(row["MaskPath"].encode()) for _, row in self._lines() if isinstance(row, dict))
        values, counts = np.unique(np.fromiter(sums, np.uint32), return_counts=True)
        return set(values[counts > 1].tolist())

    def _lines(self) -> Iterator[tuple[int, dict[str, str] | BadSample]]:
        """Number and fields of each line after the header."""
        lines = _csv_lines(self.csv)
        header = next(lines, (0, None))[1]
        if not isinstance(header, list):
            raise DataError(f"{self.csv}: no header ({header}). {_REMEDY}")
        needed = ["MaskPath", "ImageID"]
        needed += ["LabelName"] if self.class_file else []
        needed += _BOX if self.limits.asks_area else []
        needed += ["PredictedIoU"] if self.limits.scores else []
        for column in needed:
            if column not in header:
                raise DataError(f"{self.csv}: no column '{column}'. {did_you_mean(column, header)}")
        for number, fields in lines:
            if isinstance(fields, str):
                yield number, BadSample(str(self.csv), f"line {number}", fields)
            elif len(fields) != len(header):
                reason = f"{len(fields)} fields, and {len(header)} columns"
                yield number, BadSample(str(self.csv), f"line {number}", reason)
            else:
                yield number, dict(zip(header, fields, strict=True))


def _box_share(row: dict[str, str]) -> float | None:
    """The box's share of its picture, 0..1; None if the csv does not give it."""
    try:
        left, right, top, bottom = (float(row[name]) for name in _BOX)
    except (KeyError, ValueError):
        return None
    return (right - left) * (bottom - top)


def fit_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes a mask to its picture, nearest pixel: bool (h, w) -> bool (height, width).

    Raises:
        ValueError: the shapes differ by more than 2 % and more than a pixel, or no pixel of the object is left.
    """
    if mask.shape == (height, width):
        return mask
    expected = mask.shape[1] * height / width
    if abs(mask.shape[0] - expected) > max(1.0, 0.02 * expected):
        raise ValueError(f"mask of size {mask.shape} on a picture of size {(height, width)}: another shape")
    fitted = np.array(Image.fromarray(mask.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST))
    if not fitted.any():
        raise ValueError(f"empty mask: no pixel of it is left at the picture's size {(height, width)}")
    return fitted.astype(bool)


def _class_names(path: Path) -> Iterator[tuple[str, str]]:
    for number, fields in _csv_lines(path):
        if isinstance(fields, str) or len(fields) < 2:
            raise DataError(f"{path}: line {number}: expected LabelName,DisplayName ({fields}). Download it again.")
        yield fields[0], fields[1]


def _csv_lines(path: Path) -> Iterator[tuple[int, list[str] | str]]:
    """Number and fields of each line that is not blank; instead of the fields of a broken line, the reason as text."""
    with path.open("rb") as file:
        for number, line in enumerate(iter(functools.partial(file.readline, _LONGEST_LINE), b""), start=1):
            if len(line) == _LONGEST_LINE:
                yield number, f"no csv (a line of more than {_LONGEST_LINE} bytes; what follows is not read)"
                return
            try:
                text = line.decode("utf-8-sig").strip("\r\n")
                if text:
                    yield number, next(csv.reader([text], strict=True))
            except (UnicodeDecodeError, csv.Error) as error:
                yield number, f"no csv ({error})"

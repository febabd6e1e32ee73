"""YOLO's segmentation labels -> own data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from sa2va_native.datasets.converters.convert import Converted
from sa2va_native.datasets.converters.twin_folders import label_files, size_of, twin
from sa2va_native.datasets.reading.files import require_own
from sa2va_native.datasets.reading.mask_codec import MaskError, decode_mask, encode_mask
from sa2va_native.errors import BadSample, DataError

#: How far a coordinate may lie outside 0..1, for rounding.
_SLACK = 0.01


@dataclass
class YoloConverter:
    """Each line of each ``labels/**/NAME.txt`` is a record; its picture is ``images/**/NAME.jpg`` (or PNG, WebP, BMP).

    Both folders may have subfolders, or be subfolders, as Roboflow has them: ``labels/train/``, ``train/labels/``. A
    line is the number of a class and x, y of each point as fractions of the picture as it is shown (format:
    https://docs.ultralytics.com/datasets/segment/). The class's name in ``data.yaml`` becomes ``category``. A line of
    five numbers is a box, which has no mask: it is reported.

    Args:
        root: contains both folders.
        split: see :func:`label_files`.

    Raises:
        DataError: from ``sources``, if there are no such files; a ``data.yaml`` that is not YAML.
    """

    root: Path
    split: str | None = None
    names: dict[str, str] = field(init=False)  #: of the classes, by number
    parallel = True

    def __post_init__(self) -> None:
        self.names = _names(self.root)

    def sources(self) -> Sequence[str]:
        """The label files, relative to the root."""
        if names := label_files(self.root, "labels", (".txt",), self.split):
            return names
        raise DataError(
            f"{self.root}: nothing to convert: no text file in a folder labels/. Give the folder that contains "
            "images/ and labels/ (or train/images/ and train/labels/)."
        )

    def convert(self, source: str) -> Converted:
        file, records, bad = self.root / source, [], []
        try:
            require_own(self.root, file, "file")
            picture = twin(self.root, source, "labels", "images")
            height, width = size_of(self.root / picture, file, "file", turned=True)
            lines = file.read_text(encoding="utf-8").splitlines()
        except BadSample as error:
            return Converted([], [error])
        except (OSError, ValueError) as error:
            return Converted([], [BadSample(str(file), "file", f"unreadable ({error})")])
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                name, points = _outline(line)
                outline = [value * extent for x, y in points for value, extent in ((x, width), (y, height))]
                mask = encode_mask(decode_mask([outline], height, width))
            except MaskError as error:
                bad.append(BadSample(str(file), f"line {number}", str(error)))
                continue
            category = self.names.get(name, name)
            records.append({"image": picture, "mask": mask, "category": category, "id": f"{source} line {number}"})
        return Converted(records, bad)


def _outline(line: str) -> tuple[str, list[tuple[float, float]]]:
    """The class of a line, and its points as fractions of the picture."""
    name, *fields = line.split()
    try:
        values = [float(value) for value in fields]
    except ValueError as error:
        raise MaskError(f"polygon with a coordinate that is not a number ({error})") from error
    if len(values) == 4:
        raise MaskError("a box (class, x, y, width, height), which has no mask: label for segmentation")
    if len(values) < 6 or len(values) % 2:
        raise MaskError(f"polygon of {len(values)} numbers, expected x, y of at least 3 points")
    if any(map(math.isnan, values)):
        raise MaskError("polygon with a coordinate that is not a number (nan)")
    if not all(-_SLACK <= value <= 1 + _SLACK for value in values):
        farthest = max(values, key=lambda value: max(-value, value - 1))
        raise MaskError(f"polygon with the coordinate {farthest:g}; they are fractions of the picture, 0..1")
    return name, list(zip(values[::2], values[1::2], strict=True))


def _names(root: Path) -> dict[str, str]:
    """The names of classes by number, as ``data.yaml`` lists them; empty without one."""
    file = next((root / name for name in ("data.yaml", "dataset.yaml", "data.yml") if (root / name).is_file()), None)
    if file is None:
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise DataError(
            f"{file}: not YAML ({told:.200}). Correct it, or move it away: classes are then numbers."
        ) from error
    names = content.get("names") if isinstance(content, dict) else None
    listed = names.items() if isinstance(names, dict) else enumerate(names if isinstance(names, list) else [])
    return {str(number): str(name) for number, name in listed}

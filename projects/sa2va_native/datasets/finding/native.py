"""Finds sets that are read as they were published, by the names of their files alone."""

from __future__ import annotations

from pathlib import Path

from sa2va_native.datasets.adapters.grefer import GREFS, GeneralizedReferExpressions
from sa2va_native.datasets.adapters.reason_seg import ReasonSeg
from sa2va_native.datasets.adapters.refer import REFS, ReferExpressions, refs_files, splits_of
from sa2va_native.datasets.adapters.video_expressions import DavisExpressions, VideoExpressions
from sa2va_native.datasets.finding.coco_json import pictures_of
from sa2va_native.datasets.finding.found_set import FoundSet
from sa2va_native.datasets.finding.json_layouts import REASON_SEG, json_layout


def refer_sets(path: Path) -> list[FoundSet]:
    """REFER and gRefCOCO: one set for each split of each refs file."""
    refs = [*refs_files(path, REFS).values(), *refs_files(path, GREFS).values()]
    return [found for file in refs for found in _refer(path, file)]


def _refer(root: Path, file: Path) -> list[FoundSet]:
    adapter = GeneralizedReferExpressions if file.name.startswith("grefs") else ReferExpressions
    split_by = file.stem.partition("(")[2].removesuffix(")")
    folders = [root / name for name in ("images", "../coco2014/train2014", "../train2014", "train2014")]
    pictures = pictures_of(root / "instances.json", folders, [root])
    config = {"type": adapter.__name__, "root": str(root), "split_by": split_by, "image_root": str(pictures)}
    name = split_by if adapter is ReferExpressions else file.stem
    return [FoundSet(f"{name} {split}", {**config, "split": split}) for split in splits_of(file)]


def described_sets(path: Path) -> list[FoundSet]:
    """Splits of Describe Anything: the folder itself, or its subfolders."""
    splits = [file.parent for file in sorted([path / "annotations.json", *path.glob("*/annotations.json")])]
    return [
        FoundSet(split.name, {"type": "DescribeAnything", "root": str(split.parent), "split": split.name})
        for split in map(Path.absolute, splits)
        if (split / "annotations.json").is_file() and any((split / "images").glob("*.tar"))
    ]


def reason_seg_sets(path: Path) -> list[FoundSet]:
    """Splits of ReasonSeg: the folder itself, or its subfolders; told by any of their jsons."""
    splits = [path.absolute(), *sorted(folder for folder in path.absolute().iterdir() if folder.is_dir())]
    return [
        FoundSet(split.name, {"type": ReasonSeg.__name__, "root": str(split.parent), "split": split.name})
        for split in splits
        if (file := next(split.glob("*.json"), None)) and json_layout(file) == REASON_SEG
    ]


def clip_sets(path: Path) -> list[FoundSet]:
    """MeViS, ReVOS and others with ``mask_dict.json``; Ref-DAVIS17 and Ref-YouTube-VOS with label pictures."""
    found = []
    for file in sorted([*path.glob("meta_expressions*.json"), *path.glob("*/meta_expressions*.json")]):
        folder, masks = file.parent, file.parent / "mask_dict.json"
        if masks.is_file():
            frames = folder / "JPEGImages"
            name = file.stem.removeprefix("meta_expressions").strip("_") or folder.absolute().name
            config = {"expressions": str(file), "image_root": str(frames if frames.is_dir() else folder)}
            found.append(FoundSet(name, {"type": VideoExpressions.__name__, **config, "masks": str(masks)}))
    for file in sorted(path.glob("meta_expressions/*/meta_expressions.json")):
        folder = path / file.parent.name
        if (folder / "Annotations").is_dir():
            config = {"image_root": str(folder / "JPEGImages"), "mask_root": str(folder / "Annotations")}
            found.append(FoundSet(folder.name, {"type": DavisExpressions.__name__, "expressions": str(file), **config}))
    return found

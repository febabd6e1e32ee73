"""What lies at a path: the adapters of the data sets there."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from projects.sa2va.datasets.adapters.refer import ReferExpressions, splits_of
from projects.sa2va.datasets.indexing.file_parts import walk
from projects.sa2va.datasets.reading.files import require_folder
from projects.sa2va.errors import DataError

_NOT_TRAINED_ON = ("val", "test")
_LAYOUTS = (
    "Expected own data (data.jsonl), the layout of COCO (annotations/instances_NAME.json beside the folder NAME/ of "
    "pictures), of REFER (instances.json, refs(unc).p and images/), of SA-V, SA-1B, Open Images or Describe Anything, "
    "or tar shards. docs/data.md shows each."
)


#: Files of the sets of many files, and their adapters.
_LARGE = {
    "*.npz": "SavPairs",
    "sav_*_manual.json": "SavVideos",
    "sav_*_auto.json": "SavVideos",
    "sa_*.tar": "Sa1b",
    "sa_*.json": "Sa1b",
    "*.tar": "TarShards",
}


class FoundSet(NamedTuple):
    """One data set: how to build its adapter, and what to call it."""

    name: str
    config: dict[str, Any]

    @property
    def training(self) -> bool:
        """Whether its name tells of no validation or test set."""
        return not any(word in self.name for word in _NOT_TRAINED_ON)


def find_sets(path: str | Path) -> list[FoundSet]:
    """Every data set at a path, by the names of its files.

    * a ``.jsonl`` or ``.json`` file, or a folder that holds ``data.jsonl`` or ``data.json``: own data;
    * a folder with ``annotations/instances_NAME.json``, or such a file: COCO, one set a file. The pictures of
      ``NAME`` are in ``NAME/``, ``images/NAME/``, ``images/`` or the folder itself, whichever exists first;
    * a folder with ``instances.json`` and ``images/``, or that file: COCO;
    * a folder with ``refs(*).p`` beside them: REFER, one set a split;
    * a folder with ``SPLIT-annotations-object-segmentation.csv``: Open Images, one set a split;
    * a folder with ``SPLIT/annotations.json`` and ``SPLIT/images/*.tar``, or such a ``SPLIT``: Describe Anything, one
      set a split;
    * at any depth ``*.npz`` or ``sav_*_manual.json``: SA-V; ``sa_*.tar`` or ``sa_*.json``: SA-1B; another ``*.tar``:
      shards; what is met first.

    Raises:
        DataError: nothing there, or nothing that fits; the message says what was looked for.
    """
    path = Path(path).expanduser()
    if path.is_file():
        if path.name.startswith("instances_") and path.suffix == ".json":
            root = path.parent.parent if path.parent.name == "annotations" else path.parent
            return [_coco(root, path)]
        return [_instances(path) if path.name == "instances.json" else _own(path)]
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder. {_LAYOUTS}")
    for name in ("data.jsonl", "data.json"):
        if (path / name).is_file():
            return [_own(path / name)]
    if refs := sorted(path.glob("refs(*).p")):
        return [found for file in refs for found in _refer(path, file)]
    if (path / "instances.json").is_file():
        return [_instances(path / "instances.json")]
    files = sorted((path / "annotations").glob("instances_*.json"))
    if found := [_coco(path, file) for file in files] or _described(path) or _large_sets(path):
        return found
    require_folder(path, _LAYOUTS)
    raise DataError(f"{path}: no data.jsonl, no annotations/instances_*.json, no instances.json. {_LAYOUTS}")


def find_mask_sets(path: str | Path) -> list[FoundSet]:
    """The sets to train masks on: of :func:`find_sets`, ``*val*`` and ``*test*`` only if there are no others.

    Raises:
        DataError: see :func:`find_sets`; or there are referring expressions only.
    """
    found = find_sets(path)
    masks = [one for one in found if one.config["type"] != ReferExpressions.__name__]
    if not masks:
        raise DataError(
            f"{path}: holds referring expressions, whose masks are no set of their own. Train on them with a source of "
            "kind 'refer' in the config, or give the folder of a COCO set."
        )
    return [one for one in masks if one.training] or masks


def _own(file: Path) -> FoundSet:
    return FoundSet(file.stem, {"type": "OwnData", "path": str(file)})


def _instances(file: Path) -> FoundSet:
    return FoundSet("instances", _coco_config(file, _folder(file.parent, ["images"])))


def _coco(root: Path, file: Path) -> FoundSet:
    name = file.stem.removeprefix("instances_")
    return FoundSet(name, _coco_config(file, _folder(root, [name, f"images/{name}", "images"])))


def _coco_config(file: Path, pictures: Path) -> dict[str, Any]:
    return {"type": "CocoInstances", "ann_file": str(file), "image_root": str(pictures)}


def _refer(root: Path, file: Path) -> list[FoundSet]:
    split_by = file.name.removeprefix("refs(").removesuffix(").p")
    pictures = _folder(root, ["images", "../coco2014/train2014", "../train2014", "train2014"])
    config = {"type": ReferExpressions.__name__, "root": str(root), "split_by": split_by, "image_root": str(pictures)}
    return [FoundSet(f"{split_by} {split}", {**config, "split": split}) for split in splits_of(file)]


def _described(path: Path) -> list[FoundSet]:
    """Splits of Describe Anything: the folder itself, or folders in it."""
    splits = [file.parent for file in sorted([path / "annotations.json", *path.glob("*/annotations.json")])]
    return [
        FoundSet(split.name, {"type": "DescribeAnything", "root": str(split.parent), "split": split.name})
        for split in map(Path.absolute, splits)
        if (split / "annotations.json").is_file() and any((split / "images").glob("*.tar"))
    ]


def _large_sets(root: Path) -> list[FoundSet]:
    """Sets that keep an index; found by the first file that is one's."""
    ending = "-annotations-object-segmentation.csv"
    if splits := [file.name.removesuffix(ending) for file in sorted(root.glob(f"*{ending}"))]:
        return [FoundSet(split, {"type": "OpenImages", "root": str(root), "split": split}) for split in splits]
    for _, names, *_ in walk(root, ""):
        for name in names:
            for pattern, adapter in _LARGE.items():
                if fnmatch.fnmatch(name, pattern):
                    return [FoundSet(root.name, {"type": adapter, "root": str(root)})]
    return []


def _folder(root: Path, names: list[str]) -> Path:
    """The first of the folders that exists, else ``root`` if it holds pictures."""
    candidates = [root / name for name in names]
    for folder in candidates:
        if folder.is_dir():
            return folder
    if any(root.glob("*.jpg")) or any(root.glob("*.png")):
        return root
    looked = ", ".join(str(folder) for folder in candidates)
    raise DataError(f"{root}: no pictures for its annotations: looked for the folders {looked}.")

"""Finds the data sets at a path, and the adapters that read them."""

from __future__ import annotations

import fnmatch
import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import print_log

from sa2va_native.datasets.adapters.grefer import GeneralizedReferExpressions
from sa2va_native.datasets.adapters.refer import ReferExpressions, splits_of
from sa2va_native.datasets.finding.coco_json import is_coco, may_be_coco, pictures_of
from sa2va_native.datasets.finding.unread import unread_files, unread_layout
from sa2va_native.datasets.indexing.file_parts import walk
from sa2va_native.datasets.reading.files import require_folder
from sa2va_native.errors import DataError, printable

#: Words of a set's name that say what it is for.
_NOT_TRAINED_ON = {"val", "valid", "validation", "minival", "valset", "eval", "evaluation"}
_NOT_TRAINED_ON |= {"test", "testdev", "testing", "testset"}
_LAYOUTS = (
    "Expected own data (data.jsonl), the layout of COCO (annotations/instances_NAME.json next to the folder NAME/ of "
    "pictures, or one COCO json in the folder), of REFER (instances.json, refs(unc).p and images/), of SA-V, SA-1B, "
    "Open Images or Describe Anything, or tar shards. docs/data/index.md describes each."
)


#: Adapters of sets without masks of their own.
_EXPRESSIONS = (ReferExpressions.__name__, GeneralizedReferExpressions.__name__)
#: A folder with more jsons than this contains many small files, e.g. LabelMe's, not a COCO set.
_MOST_JSON = 64
#: File names of large sets, and their adapters.
_LARGE = {
    "*.npz": "SavPairs",
    "sav_*_manual.json": "SavVideos",
    "sav_*_auto.json": "SavVideos",
    "sa_*.tar": "Sa1b",
    "sa_*.json": "Sa1b",
    "*.tar": "TarShards",
}


class FoundSet(NamedTuple):
    """One data set: how to build its adapter, and its name."""

    name: str
    config: dict[str, Any]

    @property
    def training(self) -> bool:
        """Whether no word of its name says that it is a validation or test set; ``festival`` is another word."""
        words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", self.name)
        return not _NOT_TRAINED_ON & {word.lower() for word in words}


def find_sets(path: str | Path) -> list[FoundSet]:
    """Every data set at a path, recognised by file names.

    * a ``.jsonl`` file, a ``.json`` with a list or one object per line, or a folder with ``data.jsonl`` or
      ``data.json``: own data;
    * a ``.json`` of one object with the lists ``images`` and ``annotations``, or a folder with one such file
      (Label Studio's ``result.json``, Roboflow's ``_annotations.coco.json``): COCO;
    * a folder with ``annotations/instances_NAME.json``, else ``annotations/NAME.json``, else
      ``NAME/_annotations.coco.json``: COCO, one set per file. The pictures of ``NAME`` are in ``NAME/``,
      ``images/NAME/``, ``images/``, the folder itself or next to the json, whichever has the first of them;
    * a folder with ``instances.json``, or that file: COCO;
    * a folder that also has ``refs(*).p``: REFER, one set per split; ``grefs(*).json``: gRefCOCO, the same;
    * a folder with ``SPLIT-annotations-object-segmentation.csv``: Open Images, one set per split;
    * a folder with ``SPLIT/annotations.json`` and ``SPLIT/images/*.tar``, or such a ``SPLIT``: Describe Anything, one
      set per split;
    * at any depth ``*.npz`` or ``sav_*_manual.json``: SA-V; ``sa_*.tar`` or ``sa_*.json``: SA-1B; another ``*.tar``:
      shards; whichever is found first.

    Raises:
        DataError: nothing is there, or nothing is recognised; the message says what was looked for.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return [_of_file(path)]
    found = _of_folder(path)
    for note in unread_files(path):
        print_log(printable(note), logger="current", level=logging.WARNING)
    return found


def coco_sets(path: Path, named: bool = False) -> list[FoundSet]:
    """The COCO sets of a json, whatever its name, or of a folder.

    Args:
        named: of a folder, only the sets whose file is named like a COCO file.

    Raises:
        DataError: a file that is not a json; no pictures; or several files of a folder that could be meant.
    """
    if path.is_file():
        if path.suffix.lower() != ".json":
            raise DataError(f"{path}: not a .json. Give the json of a COCO set, or its folder.")
        return [_coco(path)]
    if (path / "instances.json").is_file():
        return [_coco(path / "instances.json")]
    files = sorted((path / "annotations").glob("instances_*.json"))
    if not files and not named:
        files = [file for file in sorted((path / "annotations").glob("*.json")) if may_be_coco(file)]
        files = files or sorted(path.glob("*/_annotations.coco.json"))
        files = files or _only(path, [file for file in sorted(path.glob("*.json"))[:_MOST_JSON] if may_be_coco(file)])
    return [_coco(file) for file in files]


def find_mask_sets(path: str | Path) -> list[FoundSet]:
    """The sets to train masks on: those of :func:`find_sets`; ``val`` and ``test`` sets only if there are no others.

    What is left out is logged.

    Raises:
        DataError: see :func:`find_sets`; or there are only referring expressions.
    """
    found = find_sets(path)
    masks = [one for one in found if one.config["type"] not in _EXPRESSIONS]
    if not masks:
        raise DataError(
            f"{path}: holds referring expressions, not a set of masks alone. Train on them with a source of kind "
            "'refer' in the config, or give the folder of a COCO set."
        )
    training = [one for one in masks if one.training] or masks
    if left_out := [one.name for one in masks if one not in training]:
        message = f"{path}: not trained on, for validation or test by its name: {', '.join(left_out)}"
        print_log(printable(message), logger="current")
    return training


def _of_folder(path: Path) -> list[FoundSet]:
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder. {_LAYOUTS}")
    for name in ("data.jsonl", "data.json"):
        if (path / name).is_file():
            return [_of_file(path / name)]
    if refs := [*sorted(path.glob("refs(*).p")), *sorted(path.glob("grefs(*).json"))]:
        return [found for file in refs for found in _refer(path, file)]
    if found := coco_sets(path, named=True) or _described(path) or _large_sets(path) or coco_sets(path):
        return found
    require_folder(path, _LAYOUTS)
    known = unread_layout(path)
    named = f"{known} " if known else ""
    raise DataError(f"{path}: no data.jsonl, no annotations/instances_*.json, no instances.json. {named}{_LAYOUTS}")


def _of_file(file: Path) -> FoundSet:
    suffix = file.suffix.lower()
    if suffix not in (".json", ".jsonl"):
        raise DataError(f"{file}: not a .json or .jsonl. Give the folder of the set. {_LAYOUTS}")
    named = file.stem == "instances" or file.stem.startswith("instances_")
    if suffix == ".json" and (named or is_coco(file)):
        return _coco(file)
    return FoundSet(file.stem, {"type": "OwnData", "path": str(file)})


def _only(path: Path, files: list[Path]) -> list[Path]:
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:5])
        raise DataError(f"{path}: {len(files)} COCO jsons ({names}). Give the path of one of them.")
    return files


def _coco(file: Path) -> FoundSet:
    """A COCO json, named after its file, or after its folder for Roboflow."""
    folder, name = file.parent, file.stem.removeprefix("instances_")
    if file.name == "_annotations.coco.json":
        name = folder.absolute().name
    root = folder.parent if folder.name == "annotations" else folder
    usual = [root / name, root / "images" / name, root / "images", root / "data"]  # the last one: FiftyOne
    pictures = pictures_of(file, usual, [root, folder])
    return FoundSet(name, {"type": "CocoInstances", "ann_file": str(file), "image_root": str(pictures)})


def _refer(root: Path, file: Path) -> list[FoundSet]:
    adapter = ReferExpressions if file.suffix == ".p" else GeneralizedReferExpressions
    split_by = file.stem.partition("(")[2].removesuffix(")")
    folders = [root / name for name in ("images", "../coco2014/train2014", "../train2014", "train2014")]
    pictures = pictures_of(root / "instances.json", folders, [root])
    config = {"type": adapter.__name__, "root": str(root), "split_by": split_by, "image_root": str(pictures)}
    name = split_by if adapter is ReferExpressions else file.stem
    return [FoundSet(f"{name} {split}", {**config, "split": split}) for split in splits_of(file)]


def _described(path: Path) -> list[FoundSet]:
    """Splits of Describe Anything: the folder itself, or its subfolders."""
    splits = [file.parent for file in sorted([path / "annotations.json", *path.glob("*/annotations.json")])]
    return [
        FoundSet(split.name, {"type": "DescribeAnything", "root": str(split.parent), "split": split.name})
        for split in map(Path.absolute, splits)
        if (split / "annotations.json").is_file() and any((split / "images").glob("*.tar"))
    ]


def _large_sets(root: Path) -> list[FoundSet]:
    """Sets that keep an index, recognised by the first file that matches."""
    ending = "-annotations-object-segmentation.csv"
    if splits := [file.name.removesuffix(ending) for file in sorted(root.glob(f"*{ending}"))]:
        return [FoundSet(split, {"type": "OpenImages", "root": str(root), "split": split}) for split in splits]
    for _, names, *_ in walk(root, ""):
        for name in names:
            for pattern, adapter in _LARGE.items():
                if fnmatch.fnmatch(name, pattern):
                    return [FoundSet(root.name, {"type": adapter, "root": str(root)})]
    return []

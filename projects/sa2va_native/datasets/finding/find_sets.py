"""Finds the data sets at a path, and the adapters that read them."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Callable
from pathlib import Path

from mmengine.logging import print_log

from sa2va_native.datasets.finding.coco_json import is_coco, may_be_coco, pictures_of
from sa2va_native.datasets.finding.found_set import FoundSet, for_training
from sa2va_native.datasets.finding.native import clip_sets, described_sets, reason_seg_sets, refer_sets
from sa2va_native.datasets.finding.unread import unread_file, unread_files, unread_layouts
from sa2va_native.datasets.indexing.file_parts import walk
from sa2va_native.datasets.reading.files import require_folder
from sa2va_native.errors import DataError, printable

_LAYOUTS = (
    "Expected own data (data.jsonl), the layout of COCO (annotations/instances_NAME.json next to the folder NAME/ of "
    "pictures, or one COCO json in the folder), of REFER (instances.json, refs(unc).p and images/), of ReasonSeg, "
    "SA-V, SA-1B, Open Images or Describe Anything, or tar shards. docs/data/index.md describes each."
)


#: Adapters of sets without masks of their own.
_EXPRESSIONS = ("ReferExpressions", "GeneralizedReferExpressions")
#: Adapters of clips, for evaluation alone.
CLIPS = ("VideoExpressions", "DavisExpressions")
#: A folder with more jsons than this contains many small files, e.g. LabelMe's, not a COCO set.
_MOST_JSON = 64
_MOST_FOLDERS = 64  # subfolders that are looked at
#: File names of large sets, and their adapters.
_LARGE = {
    "*.npz": "SavPairs",
    "sav_*_manual.json": "SavVideos",
    "sav_*_auto.json": "SavVideos",
    "sa_*.tar": "Sa1b",
    "sa_*.json": "Sa1b",
    "*.tar": "TarShards",
}


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
    * a folder that also has ``refs(*).p``: REFER, one set per split; ``grefs(*).json`` or ``.p``: gRefCOCO, the same;
    * a folder with ``meta_expressions*.json`` and ``mask_dict.json``, or with ``meta_expressions/SPLIT/`` and
      ``SPLIT/Annotations/``: clips with expressions, for evaluation;
    * a folder with ``SPLIT/NAME.json`` that have ``text`` and ``shapes``, or such a ``SPLIT``: ReasonSeg, one set per
      split;
    * a folder with ``SPLIT-annotations-object-segmentation.csv``: Open Images, one set per split;
    * a folder with ``SPLIT/annotations.json`` and ``SPLIT/images/*.tar``, or such a ``SPLIT``: Describe Anything, one
      set per split;
    * at any depth ``*.npz`` or ``sav_*_manual.json``: SA-V; ``sa_*.tar`` or ``sa_*.json``: SA-1B; another ``*.tar``:
      shards; whichever is found first.

    What else lies in the folder is logged: of another layout, or beside the files of this one.

    Raises:
        DataError: nothing is there, or nothing is recognised; the message says what was looked for. A layout that is
            converted first, or sets in several subfolders: the message names them, and what to do.
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
    if all(one.config["type"] in CLIPS for one in found):
        raise DataError(
            f"{path}: holds clips with expressions, which are evaluated (docs/evaluation.md), not trained on."
        )
    masks = [one for one in found if one.config["type"] not in (*_EXPRESSIONS, *CLIPS)]
    if not masks:
        raise DataError(
            f"{path}: holds referring expressions, not a set of masks alone. Train on them with --kind refer, or "
            "with a source of kind 'refer' in the config; or give the folder of a COCO set."
        )
    return for_training(masks, path)


def _of_folder(path: Path) -> list[FoundSet]:
    if not path.is_dir():
        raise DataError(f"{path}: no such file or folder. {_LAYOUTS}")
    if by_name := _by_name(path):
        (title, found), *others = by_name.items()
        _say_not_read(path, title, [other for other, _ in others])
        return found
    large, folder = _large_sets(path)
    if large and folder == path:
        return large
    few = not large  # of a large set, the jsons may be millions
    unread = unread_layouts(path, look_into_jsons=few)
    titles = [one.title for one in unread]
    if not large and (found := coco_sets(path)):
        _say_not_read(path, "COCO", titles)
        return found
    below = {place: title for place, title in _subfolders(path, few).items() if title not in titles}
    if large and not below:
        return large
    require_folder(path, _LAYOUTS)
    if below:
        if large:
            below[folder.relative_to(path).parts[0]] = large[0].config["type"]
        below |= {str(one.file.relative_to(path)): one.title for one in unread}
        told = "; ".join(f"{place} is {title}" for place, title in sorted(below.items()))
        raise DataError(f"{path}: no set itself, but sets in its folders: {told}. Give the path of one.")
    if unread:
        several = "holds several layouts: " if len(unread) > 1 else "looks like "
        told = "; or ".join(f"{one.title}: {one.step} (known by {one.file.relative_to(path)})" for one in unread)
        raise DataError(f"{path}: {several}{told}.")
    raise DataError(f"{path}: no data.jsonl, no annotations/instances_*.json, no instances.json. {_LAYOUTS}")


def _say_not_read(path: Path, title: str, others: list[str]) -> None:
    if others:
        message = f"{path}: holds several layouts: read as {title}, not as {', '.join(others)}; for those, give a path"
        print_log(printable(message), logger="current", level=logging.WARNING)


def _by_name(path: Path) -> dict[str, list[FoundSet]]:
    """The sets of a folder by their layout, of those layouts that are known by the names of a few files."""
    own = [path / name for name in ("data.jsonl", "data.json") if (path / name).is_file()]
    readers: dict[str, Callable[[], list[FoundSet]]] = {
        "own data": lambda: [_of_file(file) for file in own[:1]],
        "REFER": lambda: refer_sets(path),
        "COCO": lambda: coco_sets(path, named=True),
        "Describe Anything": lambda: described_sets(path),
        "clips with expressions": lambda: clip_sets(path),
        "ReasonSeg": lambda: reason_seg_sets(path),
    }
    found: dict[str, list[FoundSet]] = {}
    for title, read in readers.items():
        if title == "COCO" and "REFER" in found:
            continue  # instances.json holds its masks
        try:
            sets = read()
        except DataError:
            if not found:
                raise
            continue  # of another set, which is not asked for
        if sets:
            found[title] = sets
    return found


def _subfolders(path: Path, look_into_jsons: bool) -> dict[str, str]:
    """The folders in a folder that hold sets, and their layouts."""
    found = {}
    for folder in sorted(folder for folder in path.iterdir() if folder.is_dir())[:_MOST_FOLDERS]:
        try:
            titles = [*_by_name(folder), *(one.title for one in unread_layouts(folder, look_into_jsons))]
        except DataError:
            continue  # a set without its pictures
        if titles:
            found[folder.name] = titles[0]
    return found


def _of_file(file: Path) -> FoundSet:
    suffix = file.suffix.lower()
    if suffix not in (".json", ".jsonl"):
        raise DataError(f"{file}: not a .json or .jsonl. Give the folder of the set. {_LAYOUTS}")
    if suffix == ".json" and (unread := unread_file(file)):
        raise DataError(f"{file}: looks like {unread.title}: {unread.step}.")
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


def _large_sets(root: Path) -> tuple[list[FoundSet], Path]:
    """Sets that keep an index, recognised by the first file that matches, and the folder that it is in."""
    ending = "-annotations-object-segmentation.csv"
    if splits := [file.name.removesuffix(ending) for file in sorted(root.glob(f"*{ending}"))]:
        return [FoundSet(split, {"type": "OpenImages", "root": str(root), "split": split}) for split in splits], root
    for folder, names, *_ in walk(root, ""):
        for name in names:
            for pattern, adapter in _LARGE.items():
                if fnmatch.fnmatch(name, pattern):
                    return [FoundSet(root.name, {"type": adapter, "root": str(root)})], folder
    return [], root

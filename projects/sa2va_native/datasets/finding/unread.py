"""Names layouts of other tools and sets that no adapter reads, and says what does."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from sa2va_native.datasets.finding.found_set import is_for_training
from sa2va_native.datasets.finding.json_layouts import LABELME, PHRASE_CUT, SA2VA, SAM, json_layout


class Unread(NamedTuple):
    """A layout that no adapter reads."""

    title: str
    file: Path  #: tells it
    step: str  #: what to do


_CONVERT = "run pseudo-gumbel convert-data {} {}"
_YOLO, _ID_MASKS = "YOLO's layout", "pictures beside masks by number or colour"
_DAVIS, _VOC = "the layout of DAVIS and YouTube-VOS", "PASCAL VOC"
#: Layout -> patterns of its files below the root; the first layout that has one is told, of layouts that share files.
_BY_NAME = {
    "FiftyOne's own format": ("samples.json",),
    "CVAT's own format": ("annotations.xml",),
    _YOLO: ("data.yaml", "dataset.yaml", "labels/*.txt", "labels/*/*.txt", "*/labels/*.txt"),
    _VOC: ("SegmentationObject", "*/SegmentationObject"),
    _DAVIS: ("Annotations/*/*.png", "Annotations/*/*/*.png", "*/Annotations/*/*.png"),
    _ID_MASKS: ("masks/*.png", "masks/*/*.png", "*/masks/*.png"),
}
_STEPS = {
    "FiftyOne's own format": "export it as fiftyone.types.COCODetectionDataset",
    "CVAT's own format": "export it as COCO 1.0",
}
#: Layout -> its name for convert-data.
CONVERTED = {
    _YOLO: "yolo",
    _VOC: "voc",
    _DAVIS: "davis",
    _ID_MASKS: "id-masks",
    LABELME: "labelme",
    SA2VA: "sa2va",
    PHRASE_CUT: "phrasecut",
    SAM: "sam",
}
#: Layouts of which each json is of one picture; of the others the json itself is converted.
_OF_FOLDERS = (LABELME, SAM)
_FEW = 16  # jsons of a folder that are looked at


def unread_layouts(root: Path, look_into_jsons: bool = True) -> list[Unread]:
    """The layouts in a folder in which no set was found.

    Args:
        look_into_jsons: whether those that only the content of a json tells are looked for.
    """
    found = {}
    for title, patterns in _BY_NAME.items():
        if file := next((file for pattern in patterns for file in root.glob(pattern)), None):
            found[title] = file
    for pattern in ("*.json", "*/*.json") if look_into_jsons else ():
        files = sorted(root.glob(pattern), key=lambda file: (not is_for_training(file.stem), file))
        for file in files[:_FEW]:
            if layout := json_layout(file):
                found.setdefault(layout, file)
    return [
        Unread(title, file, _step(title, root, file))
        for title, file in found.items()
        if title in {**_STEPS, **CONVERTED}
    ]


def unread_file(file: Path) -> Unread | None:
    """The layout of a json that no adapter reads; None if it is none of these."""
    title = json_layout(file)
    return None if title not in CONVERTED else Unread(title, file, _step(title, file.parent, file))


def _step(title: str, root: Path, file: Path) -> str:
    if title in _STEPS:
        return _STEPS[title]
    of_file = file.suffix == ".json" and title not in _OF_FOLDERS
    return _CONVERT.format(CONVERTED[title], shlex.quote(str(file if of_file else root)))


def unread_files(root: Path) -> list[str]:
    """Files beside a set that was found that look like data and are not read."""
    notes = []
    folder = root / "annotations"
    others = sorted({*folder.glob("*.json")} - {*folder.glob("instances_*.json")})
    if others and len(others) < len(list(folder.glob("*.json"))):
        names = ", ".join(file.name for file in others)
        notes.append(f"{folder}: not read beside instances_*.json: {names}. Give the path of one to use it.")
    return notes

"""Names layouts of other tools and sets that no adapter reads, and says what does."""

from __future__ import annotations

from pathlib import Path

from sa2va_native.datasets.finding.coco_json import beginning
from sa2va_native.errors import DataError

#: Files that tell a layout, as a pattern below the root -> what to do.
_BY_NAME = {
    "samples.json": "FiftyOne's own format: export it as fiftyone.types.COCODetectionDataset.",
    "annotations.xml": "CVAT's own format: export it as COCO 1.0.",
    "data.yaml": "YOLO's layout: convert its labels to COCO or to data.jsonl.",
    "dataset.yaml": "YOLO's layout: convert its labels to COCO or to data.jsonl.",
    "SegmentationObject": "PASCAL VOC: convert it with pseudo-gumbel convert-data voc.",
    "*/SegmentationObject": "PASCAL VOC: convert it with pseudo-gumbel convert-data voc.",
}
_LABELME = "LabelMe's layout: convert it with pseudo-gumbel convert-data labelme."


def unread_layout(root: Path) -> str | None:
    """A layout in which no set was found: its file, and what to do; None if it is not known either."""
    for pattern, advice in _BY_NAME.items():
        if found := sorted(root.glob(pattern)):
            return f"{found[0]} is {advice}"
    for file in sorted(root.glob("*.json"))[:1]:
        if _is_labelme(file):
            return f"{file} is {_LABELME}"
    return None


def unread_files(root: Path) -> list[str]:
    """Files beside a set that was found that look like data and are not read."""
    notes = []
    folder = root / "annotations"
    others = sorted({*folder.glob("*.json")} - {*folder.glob("instances_*.json")})
    if others and len(others) < len(list(folder.glob("*.json"))):
        names = ", ".join(file.name for file in others)
        notes.append(f"{folder}: not read beside instances_*.json: {names}. Give the path of one to use it.")
    return notes


def _is_labelme(file: Path) -> bool:
    try:
        text = beginning(file)
    except DataError:
        return False
    return '"shapes"' in text and ('"imagePath"' in text or '"imageData"' in text)

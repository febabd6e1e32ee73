"""Objects of a report as pictures: the best, the worst, and those where runs differ most."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from sa2va_native.evaluation.drawing import overlay
from sa2va_native.evaluation.predictions import read_predictions
from sa2va_native.evaluation.run_comparison import Key
from sa2va_native.evaluation.segmentation import intersection_union, iou

TILE = 200  #: pixels
OBJECTS = 3  #: in each panel
_MASKS = {"refer": "pred_mask", "cycle": "cycle_mask"}

Sample = Mapping[str, Any]


class Tile(NamedTuple):
    """One run's answer."""

    run: str
    picture: str  #: data URI
    caption: str  #: the run's own; empty where none is asked for
    note: str


class Shown(NamedTuple):
    """One object, as all runs see it."""

    text: str  #: the expression that is looked for; empty where the run's own caption is
    tiles: list[Tile]


class Panel(NamedTuple):
    """Some objects of one source."""

    source: str
    kind: str
    title: str
    objects: list[Shown]


def draw_panels(paths: Mapping[str, Path], objects: int = OBJECTS) -> list[Panel]:
    """Panels of each source and kind that has masks to show; of the samples whose picture every run has kept.

    Args:
        paths: of each run's predictions; the first is what others are compared with.
        objects: in each panel.
    """
    runs = {run: pictured(path) for run, path in paths.items()}
    first, *others = runs.values()
    common = [key for key in first if all(key in other for other in others)]
    panels = []
    for source, kind in dict.fromkeys((key.source, key.kind) for key in common):
        if kind not in _MASKS:
            continue
        found = {
            key: [reached(run[key]) for run in runs.values()]
            for key in common
            if (key.source, key.kind) == (source, kind)
        }
        for title, order in _orders(bool(others)).items():
            chosen: dict[str, Key] = {}  # one of a picture, as its expressions are often of the same object
            for key in sorted(found, key=lambda key: (order(found[key]), key.name)):
                chosen.setdefault(first[key]["picture_id"], key)
            shown = [_shown(key, runs) for key in list(chosen.values())[:objects]]
            panels.append(Panel(source, kind, title, shown))
    return panels


def pictured(path: Path) -> dict[Key, Sample]:
    """The samples of a file whose pictures were kept and are still there, with the path of each as ``picture``.

    A picture that is not where it was written is looked for beside the file, as after a move.
    """
    found: dict[Key, Sample] = {}
    for sample in read_predictions(path):
        if not sample.get("picture"):
            continue
        places = [Path(sample["picture"]), path.parent / "pictures" / Path(sample["picture"]).name]
        if (place := next((one for one in places if one.is_file()), None)) is not None:
            found[Key(sample["source"], sample["kind"], sample["sample_id"])] = {**sample, "picture": place}
    return found


def reached(sample: Sample) -> float:
    """IoU of the mask that a sample is about."""
    return iou(intersection_union(sample[_MASKS[sample["kind"]]], sample["gt_mask"]))


def _orders(several: bool) -> dict[str, Callable[[Sequence[float]], float]]:
    """What comes first in each panel; of several runs the mean of all but the first counts."""

    def trained(ious: Sequence[float]) -> float:
        return sum(ious[several:]) / len(ious[several:])

    orders: dict[str, Callable[[Sequence[float]], float]] = {
        "best": lambda ious: -trained(ious),
        "worst": trained,
    }
    if several:
        orders["most changed"] = lambda ious: -max(abs(one - ious[0]) for one in ious[1:])
    return orders


def _shown(key: Key, runs: Mapping[str, Mapping[Key, Sample]]) -> Shown:
    samples = {run: of_run[key] for run, of_run in runs.items()}
    asked = next(iter(samples.values()))["text"] if key.kind == "refer" else None
    return Shown(asked or "", [_tile(run, sample) for run, sample in samples.items()])


def _tile(run: str, sample: Sample) -> Tile:
    with Image.open(sample["picture"]) as picture:
        drawn = overlay(picture, sample["gt_mask"], sample[_MASKS[sample["kind"]]], TILE)
    file = io.BytesIO()
    drawn.save(file, "JPEG", quality=85)
    caption = "" if sample["kind"] == "refer" else sample["caption"] or "(no caption)"
    return Tile(
        run,
        f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}",
        caption,
        f"IoU {reached(sample):.2f}",
    )

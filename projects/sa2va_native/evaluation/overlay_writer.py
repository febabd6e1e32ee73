"""Draws what a model predicts while it is evaluated, a picture for each sample."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from PIL import Image, ImageDraw

from sa2va_native.evaluation.comparison_sheet import LINE, SIZE, wrapped
from sa2va_native.evaluation.drawing import FAINT, INK, PAPER, font, overlay
from sa2va_native.evaluation.segmentation import intersection_union, iou

SIDE, MARGIN = 440, 12  #: pixels
LEGEND = "filled: the mask found; green line: the true mask"
_MASKS = {"refer": "pred_mask", "cycle": "cycle_mask"}


@METRICS.register_module()
class OverlayWriter(BaseMetric):
    """Writes ``<source>_<kind>_<position in the data set>.png`` of the first samples of each source and kind.

    Each shows the picture as the model saw it, the true mask, the mask that was found, the text and the IoU.

    Args:
        folder: made if it is not there.
        samples: of each source and kind, on each rank.
    """

    def __init__(self, folder: str | Path, samples: int = 30) -> None:
        super().__init__()
        self.folder, self.samples = Path(folder), samples
        self.folder.mkdir(parents=True, exist_ok=True)
        self.seen: Counter[tuple[str, str]] = Counter()

    def process(self, data_batch: Any, data_samples: list[dict[str, Any]]) -> None:
        """Draws the results of a batch; one that was finished before a kill was drawn then."""
        if data_batch is None:
            return
        batch = data_batch["batch"]
        side = batch.side2
        for row, sample in enumerate(data_samples):
            source = sample["source"], sample["kind"]
            self.seen[source] += 1
            if self.seen[source] <= self.samples:
                name = re.sub(r"[^\w.-]+", "_", f"{'_'.join(source)}_{batch.keys[row].sample:06d}")
                draw_overlay(_image(side.pixel_values[row]), _still(sample)).save(self.folder / f"{name}.png")

    def evaluate(self, size: int) -> dict[str, float]:
        """Nothing to score."""
        return {}

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {}


def _still(sample: dict[str, Any]) -> dict[str, Any]:
    """A result as it is, and of a clip that of its first frame."""
    if sample["kind"] != "clip":
        return sample
    found = sample["pred_mask"]
    return {
        **sample,
        "kind": "refer",
        "gt_mask": sample["gt_mask"][0],
        "pred_mask": None if found is None else found[0],
    }


def draw_overlay(picture: Image.Image, sample: dict[str, Any]) -> Image.Image:
    """A result of the model's ``predict`` over its picture, with text and IoU below it."""
    kind = sample["kind"]
    mask = sample[_MASKS[kind]] if kind in _MASKS else None
    texts = [("", sample["text"])] if kind == "refer" else [("", sample["caption"]), ("human: ", sample["text"])]
    lines = [
        (" ".join(words), INK)
        for before, text in texts
        if text is not None or not before
        for words in wrapped(f"{before}{text or '(no caption)'}".split(), SIDE)
    ]
    if kind in _MASKS:
        reached = iou(intersection_union(mask, sample["gt_mask"]))
        lines.append((f"IoU {reached:.2f}" + ("" if mask is not None else ", no mask was given"), INK))
    lines.append((LEGEND, FAINT))
    sheet = Image.new("RGB", (SIDE + 2 * MARGIN, SIDE + 3 * MARGIN + LINE * len(lines)), PAPER)
    sheet.paste(overlay(picture, sample["gt_mask"], mask, SIDE), (MARGIN, MARGIN))
    draw = ImageDraw.Draw(sheet)
    for number, (text, colour) in enumerate(lines):
        draw.text((MARGIN, SIDE + 2 * MARGIN + number * LINE), text, fill=colour, font=font(SIZE))
    return sheet


def _image(pixels: torch.Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())

"""Writes a model's predictions, sample by sample, for reports and comparisons."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from PIL import Image

from sa2va_native.datasets.reading.mask_codec import encode_mask

MASKS = ("pred_mask", "cycle_mask", "gt_mask")


@METRICS.register_module()
class PredictionWriter(BaseMetric):
    """Writes one JSON line per sample: all of its result (see ``Sa2VA.predict``), its masks as COCO RLE.

    With controls also ``readings``: name -> [pixels in both masks, pixels in either], see :class:`CycleMetric`.

    The pictures of the first samples of each source are saved next to it, as the model saw them; ``picture`` is their
    file name.

    Args:
        path: file to write; ranks other than the first add their number to its name.
        pictures: number of pictures saved for each source and kind.
    """

    def __init__(self, path: str | Path, pictures: int = 30) -> None:
        super().__init__()
        self.pictures = pictures
        self.seen: Counter[tuple[str, str]] = Counter()
        path = Path(path)
        self.path = path.with_suffix(f".rank{get_rank()}{path.suffix}") if get_rank() else path
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("", encoding="utf-8")

    def process(self, data_batch: Any, data_samples: list[dict[str, Any]]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            for row, sample in enumerate(data_samples):
                masks = {name: None if sample[name] is None else encode_mask(sample[name]) for name in MASKS}
                picture = self._keep(data_batch["batch"].caption_side.pixel_values[row], sample)
                file.write(json.dumps({**sample, **masks, "picture": picture}) + "\n")

    def _keep(self, pixels: torch.Tensor, sample: dict[str, Any]) -> str | None:
        source = sample["source"], sample["kind"]
        self.seen[source] += 1
        if self.seen[source] > self.pictures:
            return None
        file = self.path.parent / "pictures" / f"{'_'.join(source)}_{self.seen[source]:03d}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy()).save(file)
        return str(file)

    def evaluate(self, size: int) -> dict[str, float]:
        """Nothing to score."""
        return {}

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {}

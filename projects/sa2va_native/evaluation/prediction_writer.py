"""Writes a model's predictions, sample by sample, for reports and comparisons."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import barrier, get_rank, get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from PIL import Image

from sa2va_native.evaluation.predictions import encoded
from sa2va_native.files.atomic import atomic_write


@METRICS.register_module()
class PredictionWriter(BaseMetric):
    """Writes one JSON line per sample: all of its result (see ``Sa2VA.predict``), its masks as COCO RLE.

    With controls also ``readings``: name -> [pixels in both masks, pixels in either], see :class:`CycleMetric`.

    The pictures of the first samples of each source are saved next to it, as the model saw them; ``picture`` is their
    file name. Of two frames it is the one that the masks are of. At the end the file holds the samples of all ranks, in
    the order of the data set.

    Args:
        path: file to write, on a disk that all ranks share; until the end, ranks other than the first write to a file
            with their number in its name.
        pictures: number of pictures that each rank saves for each source and kind.
    """

    def __init__(self, path: str | Path, pictures: int = 30) -> None:
        super().__init__()
        self.pictures = pictures
        self.seen: Counter[tuple[str, str]] = Counter()
        self.final = Path(path)
        self.path = _part(self.final, get_rank())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("", encoding="utf-8")

    def process(self, data_batch: Any, data_samples: list[dict[str, Any]]) -> None:
        """Writes the results of a batch; without ``data_batch`` those of an evaluation that was killed."""
        batch = data_batch and data_batch["batch"]
        side = batch and batch.side2
        with self.path.open("a", encoding="utf-8") as file:
            for row, sample in enumerate(data_samples):
                pixels = side and side.pixel_values[row]
                file.write(json.dumps({**encoded(sample), "picture": self._keep(pixels, sample)}) + "\n")

    def _keep(self, pixels: torch.Tensor | None, sample: dict[str, Any]) -> str | None:
        source = sample["source"], sample["kind"]
        self.seen[source] += 1
        if self.seen[source] > self.pictures:
            return None
        number = sample.get("item", self.seen[source])  # a model of one's own may not tell it
        file = self.path.parent / "pictures" / f"{'_'.join(source).replace('/', '_')}_{number:03d}.png"
        if pixels is None:
            return str(file) if file.exists() else None
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy()).save(file)
        return str(file)

    def evaluate(self, size: int) -> dict[str, float]:
        """Nothing to score; puts the ranks' files together. A collective."""
        barrier()
        if get_rank() == 0:
            parts = [_part(self.final, rank) for rank in range(get_world_size())]
            lines = [line for part in parts for line in part.read_text(encoding="utf-8").splitlines(keepends=True)]
            lines.sort(key=lambda line: json.loads(line).get("item", 0))
            with atomic_write(self.final) as unfinished:
                unfinished.write_text("".join(lines), encoding="utf-8")
            for part in parts[1:]:
                part.unlink()
        barrier()
        return {}

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {}


def _part(path: Path, rank: int) -> Path:
    return path.with_suffix(f".rank{rank}{path.suffix}") if rank else path

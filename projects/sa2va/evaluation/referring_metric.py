"""How well true expressions are segmented."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from projects.sa2va.evaluation.segmentation import cumulative_iou, intersection_union, mean_iou


@METRICS.register_module()
class ReferringMetric(BaseMetric):
    """cIoU and gIoU of ``pred_mask`` against ``gt_mask`` over the samples that have an expression.

    Reports ``refer_ciou`` and ``refer_giou``, both 0..1. A missing ``pred_mask`` is an empty mask.
    """

    default_prefix = None

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        # one entry for every sample, also without text: MMEngine interleaves the ranks' results by position
        self.results.extend(
            intersection_union(sample["pred_mask"], sample["gt_mask"]) if sample["text"] else None
            for sample in data_samples
        )

    def compute_metrics(self, results: list[tuple[int, int] | None]) -> dict[str, float]:
        pairs = [pair for pair in results if pair is not None]
        return {"refer_ciou": cumulative_iou(pairs), "refer_giou": mean_iou(pairs)}

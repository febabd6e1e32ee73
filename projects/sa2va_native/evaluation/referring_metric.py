"""How well true expressions are segmented."""

from __future__ import annotations

from typing import Any

from mmengine.registry import METRICS

from sa2va_native.evaluation.pooled_metric import PooledMetric
from sa2va_native.evaluation.segmentation import cumulative_iou, intersection_union, mean_iou


@METRICS.register_module()
class ReferringMetric(PooledMetric):
    """cIoU and gIoU of ``pred_mask`` against ``gt_mask`` over the samples that have an expression.

    Reports ``refer_ciou`` and ``refer_giou``, both 0..1. A missing ``pred_mask`` is an empty mask.
    """

    kind = "refer"

    def score(self, sample: dict[str, Any]) -> tuple[int, int]:
        return intersection_union(sample["pred_mask"], sample["gt_mask"])

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, float]:
        return {"refer_ciou": cumulative_iou(results), "refer_giou": mean_iou(results)}

"""How well the model finds an object again from its own caption."""

from __future__ import annotations

from typing import Any

from mmengine.registry import METRICS

from sa2va_native.evaluation.pooled_metric import PooledMetric
from sa2va_native.evaluation.segmentation import cumulative_iou, intersection_union, mean_iou


@METRICS.register_module()
class CycleMetric(PooledMetric):
    """IoU of ``cycle_mask`` (mask -> greedy caption as text -> mask) against ``gt_mask``.

    Reports ``cycle_iou`` (cumulative) and ``cycle_giou`` (mean over samples), both 0..1. A missing ``cycle_mask`` is an
    empty mask. Read it together with the caption metrics: a private code between captioner and referrer raises it too.
    """

    kind = "cycle"

    def score(self, sample: dict[str, Any]) -> tuple[int, int]:
        return intersection_union(sample["cycle_mask"], sample["gt_mask"])

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, float]:
        return {"cycle_iou": cumulative_iou(results), "cycle_giou": mean_iou(results)}

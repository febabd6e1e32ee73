"""ReasonSeg's cIoU and gIoU, which leave out the pixels that its annotators could not decide on."""

from __future__ import annotations

from typing import Any

from mmengine.registry import METRICS
from pycocotools import mask as rle

from sa2va_native.evaluation.referring_metric import ReferringMetric
from sa2va_native.evaluation.segmentation import intersection_union, predicted


@METRICS.register_module()
class ReasonSegMetric(ReferringMetric):
    """:class:`ReferringMetric` without the pixels of ``attributes["ignored"]``, see :class:`ReasonSeg`."""

    def score(self, sample: dict[str, Any]) -> tuple[int, int]:
        counts = rle.decode(sample["attributes"]["ignored"]) == 0
        gt_mask = sample["gt_mask"]
        return intersection_union(predicted(sample["pred_mask"], gt_mask) & counts, gt_mask & counts)

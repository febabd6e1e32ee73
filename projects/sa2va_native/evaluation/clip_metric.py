"""How well objects are segmented through clips."""

from __future__ import annotations

from typing import Any

from mmengine.registry import METRICS

from sa2va_native.evaluation.clips import clip_scores
from sa2va_native.evaluation.pooled_metric import PooledMetric
from sa2va_native.evaluation.segmentation import mean


@METRICS.register_module()
class ClipMetric(PooledMetric):
    """J, F and J&F of DAVIS over samples of kind ``clip``, whose masks are (F, H, W): one object through one clip.

    Reports ``clip_j``, ``clip_f``, each the mean over objects, and their mean ``clip_jf``; all in 0..1, NaN without
    samples. A missing ``pred_mask`` is empty in every frame.

    Args:
        source: see :class:`PooledMetric`.
        first_given: see :func:`clip_scores`.
    """

    kind = "clip"

    def __init__(self, source: str | None = None, first_given: bool = False) -> None:
        super().__init__(source)
        self.first_given = first_given

    def score(self, sample: dict[str, Any]) -> tuple[float, float]:
        return clip_scores(sample["pred_mask"], sample["gt_mask"], self.first_given)

    def compute_metrics(self, results: list[tuple[float, float]]) -> dict[str, float]:
        j, f = mean([j for j, _ in results]), mean([f for _, f in results])
        return {"clip_j": j, "clip_f": f, "clip_jf": (j + f) / 2}

"""How well objects are segmented through clips."""

from __future__ import annotations

from typing import Any

from mmengine.registry import METRICS

from sa2va_native.evaluation.term_metric import TermMetric
from sa2va_native.evaluation.terms import Terms, clip_terms


@METRICS.register_module()
class ClipMetric(TermMetric):
    """J, F and J&F of DAVIS over samples of kind ``clip``, whose masks are (F, H, W): one object through one clip.

    Reports ``clip_j``, ``clip_f``, each the mean over objects, and their mean ``clip_jf``; all in 0..1. A missing
    ``pred_mask`` is empty in every frame. A sample without text was given its first mask, see :func:`clip_scores`.
    """

    kind = "clip"

    def score(self, sample: dict[str, Any]) -> Terms:
        return clip_terms(sample)

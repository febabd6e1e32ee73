"""BLEU, ROUGE, CIDEr, METEOR and SPICE of captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.registry import METRICS

from sa2va_native.evaluation.coco_captions import check_scores, coco_scores
from sa2va_native.evaluation.pooled_metric import PooledMetric
from sa2va_native.evaluation.regions import Region, by_region, region_of


@METRICS.register_module()
class CocoCaptionMetric(PooledMetric):
    """The COCO scores of captions of ``caption`` sources against all human texts of the same region.

    Reports ``caption_bleu_1`` to ``caption_bleu_4``, ``caption_rouge_l``, ``caption_cider``, ``caption_meteor`` and
    ``caption_spice``, see :func:`coco_scores`.

    Args:
        source: see :class:`PooledMetric`.
        scores: which of ``bleu``, ``rouge``, ``cider``, ``meteor`` and ``spice``. SPICE downloads a parser at first
            use.

    Raises:
        ConfigError: see :func:`check_scores`.
    """

    kind = "caption"

    def __init__(self, source: str | None = None, scores: Sequence[str] = ("bleu", "rouge", "cider", "meteor")) -> None:
        super().__init__(source)
        self.scores = check_scores(scores)

    def score(self, sample: dict[str, Any]) -> Region:
        return region_of(sample)

    def compute_metrics(self, results: list[Region]) -> dict[str, float]:
        return coco_scores(by_region(results), self.scores)

"""Whether captions are what people said, how long they are, and whether they end and differ."""

from __future__ import annotations

from typing import Any

from mmengine.registry import METRICS

from sa2va_native.evaluation.diversity import distinct_n
from sa2va_native.evaluation.pooled_metric import PooledMetric
from sa2va_native.evaluation.regions import Region, by_region, region_of
from sa2va_native.evaluation.terms import caption_terms, ratio


@METRICS.register_module()
class CaptionMetric(PooledMetric):
    """Figures of captions of ``caption`` sources, each region counted once.

    Reports ``caption_agreement``, the share that is a human text of the region, word for word; ``caption_length`` in
    words; ``caption_stop_rate``, the share that ended with a stop word and not at the length limit;
    ``caption_distinct_1``, ``caption_distinct_2``, and ``caption_different``, the number of different captions. NaN
    without samples, but for the last three. A missing caption agrees with nothing, has no word and did not stop.
    """

    kind = "caption"

    def score(self, sample: dict[str, Any]) -> Region:
        return region_of(sample)

    def compute_metrics(self, results: list[Region]) -> dict[str, float]:
        regions = by_region(results)
        terms = [caption_terms(region) for region in regions]
        captions = [region.caption for region in regions]
        return {
            **{
                name: ratio(term[name] for term in terms)
                for name in ("caption_agreement", "caption_length", "caption_stop_rate")
            },
            "caption_distinct_1": distinct_n(captions, 1),
            "caption_distinct_2": distinct_n(captions, 2),
            "caption_different": float(len({caption for caption in captions if caption})),
        }

"""Whether the generated captions are true, well formed and different from each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.registry import METRICS

from sa2va_native.evaluation.captions import (
    absent_colour_rate,
    attribute_accuracy,
    grammar_rate,
    has_scene_attributes,
    texture_accuracy,
)
from sa2va_native.evaluation.diversity import distinct_n
from sa2va_native.evaluation.pooled_metric import PooledMetric


@METRICS.register_module()
class SceneCaptionMetric(PooledMetric):
    """Caption metrics over samples with known attributes (generated scenes).

    Reports, all in 0..1 except the last: ``caption_attribute_accuracy`` (the mean of the next three),
    ``caption_colour``, ``caption_shape``, ``caption_size``, ``caption_texture``, ``caption_grammar``,
    ``caption_distinct_1``, ``caption_distinct_2``, and ``caption_different``, the number of different captions. A
    missing caption is wrong in every respect. ``caption_absent_colour``, the share of captions that name a colour which
    no object of the picture has, is reported where the colours of the other objects are known.

    Samples without a generated scene's attributes, such as COCO's, are not scored. Their number is reported as
    ``caption_not_scored``, if there are any.
    """

    kind = "cycle"

    def score(self, sample: dict[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
        return sample["caption"], sample["attributes"]

    def compute_metrics(self, results: list[tuple[str | None, Mapping[str, Any]]]) -> dict[str, float]:
        scored = [(caption, attributes) for caption, attributes in results if has_scene_attributes(attributes)]
        captions = [caption for caption, _ in scored]
        accuracy = attribute_accuracy(captions, [attributes for _, attributes in scored])
        known = [
            (caption, attributes["scene_colours"]) for caption, attributes in scored if "scene_colours" in attributes
        ]
        return {
            **{f"caption_{name}": value for name, value in accuracy.items()},
            "caption_texture": texture_accuracy(captions, [attributes for _, attributes in scored]),
            **({"caption_absent_colour": absent_colour_rate(*zip(*known, strict=True))} if known else {}),
            "caption_grammar": grammar_rate(captions),
            "caption_distinct_1": distinct_n(captions, 1),
            "caption_distinct_2": distinct_n(captions, 2),
            "caption_different": float(len({caption for caption in captions if caption})),
            **({"caption_not_scored": float(len(results) - len(scored))} if len(scored) < len(results) else {}),
        }

"""How well the model finds an object again from its own caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.registry import METRICS

from sa2va_native.errors import ConfigError
from sa2va_native.evaluation.controls import check_controls
from sa2va_native.evaluation.pooled_metric import PooledMetric
from sa2va_native.evaluation.segmentation import cumulative_iou, intersection_union, mean_iou

_OWN = "own"


@METRICS.register_module()
class CycleMetric(PooledMetric):
    """IoU of ``cycle_mask`` (mask -> greedy caption as text -> mask) against ``gt_mask``.

    Reports ``cycle_iou`` (cumulative) and ``cycle_giou`` (mean over samples), both 0..1. A missing ``cycle_mask`` is an
    empty mask. A private code between captioner and reader raises them too, so compare them with the controls, which
    are cumulative IoUs of the same masks:

    * ``cycle_floor``: each object is looked for with another object's caption of the same source.
    * ``cycle_ceiling``: with its true caption; over the samples that have one, and only if there are any.
    * ``cycle_stranger``: with its own caption, by a reader that was not trained with the captioner.
    * ``cycle_code``: ``cycle_iou - cycle_stranger``, what only the captioner's own reader understands.

    Args:
        source: see :class:`PooledMetric`.
        controls: which of ``floor``, ``ceiling`` and ``stranger`` to report; each costs a further reading of every
            object. They need ``test_cfg=dict(type=CycleTestLoop)``.

    Raises:
        ConfigError: an unknown control; a sample without the readings, from another loop.
    """

    kind = "cycle"

    def __init__(self, source: str | None = None, controls: Sequence[str] = ()) -> None:
        super().__init__(source)
        self.controls = check_controls(controls)

    def score(self, sample: dict[str, Any]) -> dict[str, tuple[int, int]]:
        own = {_OWN: intersection_union(sample["cycle_mask"], sample["gt_mask"])}
        if not self.controls:
            return own
        if "readings" not in sample:
            raise ConfigError(
                f"CycleMetric with controls={list(self.controls)}: nobody has read them. Use "
                "test_cfg=dict(type=CycleTestLoop), or leave the controls out."
            )
        readings = sample["readings"]
        return {**own, **{name: readings[name] for name in self.controls if name in readings}}

    def compute_metrics(self, results: list[dict[str, tuple[int, int]]]) -> dict[str, float]:
        own = [result[_OWN] for result in results]
        figures = {"cycle_iou": cumulative_iou(own), "cycle_giou": mean_iou(own)}
        for name in self.controls:
            if pairs := [result[name] for result in results if name in result]:
                figures[f"cycle_{name}"] = cumulative_iou(pairs)
        if "cycle_stranger" in figures:
            figures["cycle_code"] = figures["cycle_iou"] - figures["cycle_stranger"]
        return figures

"""A source of an evaluation that nothing scores is an error, not an hour of predictions that nobody sees."""

from __future__ import annotations

from typing import Any

from sa2va_native.engine.config.config_check import resolve_type
from sa2va_native.errors import ConfigError
from sa2va_native.evaluation.caption_file import CaptionFile
from sa2va_native.evaluation.caption_metric import CaptionMetric
from sa2va_native.evaluation.clip_metric import ClipMetric
from sa2va_native.evaluation.coco_caption_metric import CocoCaptionMetric
from sa2va_native.evaluation.cycle_metric import CycleMetric
from sa2va_native.evaluation.overlay_writer import OverlayWriter
from sa2va_native.evaluation.prediction_writer import PredictionWriter
from sa2va_native.evaluation.referring_details import (
    ReferringBoundary,
    ReferringPrecision,
    ReferringSizes,
    ReferringTargets,
)
from sa2va_native.evaluation.referring_metric import ReferringMetric
from sa2va_native.evaluation.scene_caption_metric import SceneCaptionMetric

_METRICS = (
    ReferringMetric, ReferringPrecision, ReferringTargets, ReferringSizes, ReferringBoundary,
    CycleMetric, SceneCaptionMetric, CaptionFile, CaptionMetric, CocoCaptionMetric, ClipMetric,
)  # fmt: skip


def require_metrics(cfg: Any, part: str) -> None:
    """Checks that each source of an evaluation has a metric.

    A metric that does not say its ``kind`` takes any sample. ``PredictionWriter`` and ``OverlayWriter`` score none.

    Args:
        cfg: MMEngine config.
        part: ``test`` or ``val``.

    Raises:
        ConfigError: a source has none; the metrics for its kind are named.
    """
    evaluator = cfg.get(f"{part}_evaluator") or []
    listed = evaluator.get("metrics", [evaluator]) if isinstance(evaluator, dict) else evaluator
    metrics = [(resolve_type(metric["type"]), metric.get("source")) for metric in listed]
    for source in cfg.get(f"{part}_dataloader", {}).get("dataset", {}).get("sources", ()):
        kind, name = source["kind"], source.get("name", "")
        if not any(_scores(metric, kind) and of in (None, name) for metric, of in metrics):
            fitting = [metric.__name__ for metric in _METRICS if metric.kind == kind]
            raise ConfigError(
                f"{part} source {name!r} of kind '{kind}': no metric of {part}_evaluator scores it. Add one with "
                f"source={name!r}, such as {', '.join(fitting)}; or leave the source out."
            )


def _scores(metric: Any, kind: str) -> bool:
    return metric not in (PredictionWriter, OverlayWriter) and getattr(metric, "kind", kind) == kind

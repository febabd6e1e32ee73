"""Each source of an evaluation is scored by something."""

from __future__ import annotations

from typing import Any

import pytest

from sa2va_native.engine.config.source_metrics import require_metrics
from sa2va_native.engine.run.launch import read_config
from sa2va_native.errors import ConfigError
from sa2va_native.evaluation.caption_metric import CaptionMetric
from sa2va_native.evaluation.prediction_writer import PredictionWriter
from sa2va_native.evaluation.referring_metric import ReferringMetric
from sa2va_native.evaluation.scene_caption_metric import SceneCaptionMetric


def config(sources: list[tuple[str, str]], metrics: Any) -> dict[str, Any]:
    listed = [dict(kind=kind, name=name, dataset={}) for kind, name in sources]
    return dict(test_dataloader=dict(dataset=dict(sources=listed)), test_evaluator=metrics)


@pytest.mark.parametrize(
    "metrics",
    [
        [dict(type=ReferringMetric), dict(type=CaptionMetric, source="val")],
        [dict(type="ReferringMetric", source="val"), dict(type="CaptionMetric")],
        dict(type="Evaluator", metrics=[dict(type=ReferringMetric), dict(type=CaptionMetric)]),
        dict(type="DumpResults", out_file_path="results.pkl"),  # takes any sample
    ],
)
def test_sources_with_a_metric_pass(metrics: Any) -> None:
    """Red when a metric of all sources, by its name, or inside an evaluator does not count."""
    require_metrics(config([("refer", "val"), ("caption", "val")], metrics), "test")


@pytest.mark.parametrize(
    "metrics",
    [
        [],
        [dict(type=ReferringMetric)],  # of another kind
        [dict(type=CaptionMetric, source="testA")],  # of another source
        [dict(type=SceneCaptionMetric)],  # of cycle sources, whatever its name
        [dict(type=PredictionWriter, path="predictions.jsonl")],  # scores nothing
    ],
)
def test_a_source_without_a_metric_is_named_with_those_that_fit(metrics: Any) -> None:
    """Red when captions are predicted for hours and scored by nothing without a word."""
    with pytest.raises(ConfigError, match=r"'val' of kind 'caption'.*source='val', such as CaptionMetric, CocoCaption"):
        require_metrics(config([("caption", "val")], metrics), "test")


@pytest.mark.parametrize("name", ["sa2va_tiny", "sa2va_mid", "sa2va_4b"])
def test_the_shipped_sources_have_metrics(name: str) -> None:
    """Red when a config gains a source, or loses a metric, and nobody sees it."""
    require_metrics(read_config(name), "test")


def test_without_an_evaluation_nothing_is_required() -> None:
    """Red when a config that only trains needs metrics."""
    require_metrics({}, "val")
    require_metrics(config([("caption", "val")], []), "val")

"""The registered metrics through MMEngine's evaluator."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import numpy as np
from mmengine.evaluator import Evaluator

from sa2va_native.evaluation.cycle_metric import CycleMetric
from sa2va_native.evaluation.referring_metric import ReferringMetric
from sa2va_native.evaluation.scene_caption_metric import SceneCaptionMetric

TRUE = {"colour": "red", "shape": "star", "size": "small", "texture": "plain"}


def rows(stop: int) -> np.ndarray:
    mask = np.zeros((4, 4), bool)
    mask[:stop] = True
    return mask


def prediction(**changes: Any) -> dict[str, Any]:
    perfect = {
        "kind": "refer",
        "source": "test",
        "sample_id": "a",
        "attributes": TRUE,
        "text": "the star",
        "caption": "a small red star",
        "pred_mask": rows(2),
        "cycle_mask": rows(2),
        "gt_mask": rows(2),
    }
    return {**perfect, **changes}


def evaluate(*predictions: dict[str, Any], source: str | None = None) -> dict[str, float]:
    metrics = (ReferringMetric, CycleMetric, SceneCaptionMetric)
    evaluator = Evaluator([{"type": metric, "source": source} for metric in metrics])
    for one in predictions:
        evaluator.process([one], None)
    return evaluator.evaluate(len(predictions))


def both(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return prediction(**changes), prediction(kind="cycle", **changes)


def test_perfect_predictions_score_one_in_everything():
    """Red when a metric reads another's key."""
    result = evaluate(*both(), *both())
    assert result.pop("caption_distinct_1") == result.pop("caption_distinct_2") == 0.5
    names = "refer_ciou refer_giou cycle_iou cycle_giou caption_attribute_accuracy caption_colour caption_shape"
    more = "caption_size caption_texture caption_grammar caption_different"
    assert result == dict.fromkeys((*names.split(), *more.split()), 1.0)


def test_missing_predictions_count_against_the_model():
    """Red when a sample without a predicted mask or caption is skipped, which inflates every mean."""
    result = evaluate(*both(), *both(pred_mask=None, cycle_mask=None, caption=None))
    for name in ("refer_ciou", "refer_giou", "cycle_iou", "cycle_giou", "caption_colour", "caption_grammar"):
        assert result[name] == 0.5


def test_each_metric_reads_its_own_mask():
    result = evaluate(*both(pred_mask=rows(1), cycle_mask=rows(4)))
    assert (result["refer_ciou"], result["cycle_iou"]) == (0.5, 0.5)
    assert evaluate(*both(pred_mask=rows(1)))["cycle_iou"] == 1


def test_samples_of_another_kind_or_without_attributes_do_not_dilute():
    """Red when a mask without text counts as a failed referring, or a photo's caption as a wrong one."""
    photo = prediction(kind="cycle", text=None, attributes={}, pred_mask=None, caption="a dog")
    result = evaluate(*both(), photo)
    assert (result["refer_ciou"], result["caption_attribute_accuracy"], result["cycle_iou"]) == (1, 1, 1)


def test_attributes_of_other_data_sets_are_counted_and_not_scored():
    """Red when a COCO object in a source with SceneCaptionMetric ends the evaluation with a KeyError."""
    coco = prediction(kind="cycle", attributes={"category": "dog", "iscrowd": 0}, caption="a dog")
    result = evaluate(*both(), coco, coco)
    assert (result["caption_colour"], result["caption_grammar"], result["caption_not_scored"]) == (1, 1, 2)


def test_sources_are_scored_apart():
    result = evaluate(*both(), *both(source="other", pred_mask=None, cycle_mask=None), source="other")
    assert result["other/refer_ciou"] == result["other/cycle_iou"] == 0


def test_ranks_with_different_numbers_of_samples_are_pooled():
    """Red when MMEngine's collection cuts all ranks to the shortest."""
    metric = ReferringMetric()
    metric.process(None, [prediction()])
    other_rank = [(0, 8), (0, 8), (8, 8)]
    with patch("sa2va_native.evaluation.pooled_metric.all_gather_object", lambda mine: [mine, other_rank]):
        assert metric.evaluate(4)["refer_giou"] == 0.5

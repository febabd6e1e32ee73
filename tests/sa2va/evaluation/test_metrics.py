"""The registered metrics through MMEngine's evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mmengine.evaluator import Evaluator

from projects.sa2va.evaluation.caption_metric import CaptionMetric
from projects.sa2va.evaluation.cycle_metric import CycleMetric
from projects.sa2va.evaluation.referring_metric import ReferringMetric

TRUE = {"colour": "red", "shape": "star", "size": "small", "texture": "plain"}


def rows(stop: int) -> np.ndarray:
    mask = np.zeros((4, 4), bool)
    mask[:stop] = True
    return mask


def prediction(**changes: Any) -> dict[str, Any]:
    perfect = {
        "kind": "refer",
        "sample_id": "a",
        "attributes": TRUE,
        "text": "the star",
        "caption": "a small red star",
        "pred_mask": rows(2),
        "cycle_mask": rows(2),
        "gt_mask": rows(2),
    }
    return {**perfect, **changes}


def evaluate(*predictions: dict[str, Any]) -> dict[str, float]:
    evaluator = Evaluator([{"type": metric} for metric in (ReferringMetric, CycleMetric, CaptionMetric)])
    for one in predictions:
        evaluator.process([one], None)
    return evaluator.evaluate(len(predictions))


def test_perfect_predictions_score_one_in_everything():
    """Red when a metric reads another's key."""
    result = evaluate(prediction(), prediction())
    assert result.pop("caption_distinct_1") == result.pop("caption_distinct_2") == 0.5
    assert result == dict.fromkeys(
        (
            *("refer_ciou", "refer_giou", "cycle_iou", "cycle_giou"),
            *(
                "caption_attribute_accuracy",
                "caption_colour",
                "caption_shape",
                "caption_size",
                "caption_grammar",
            ),
            "caption_different",
        ),
        1.0,
    )


def test_missing_predictions_count_against_the_model():
    """Red when a sample without a predicted mask or caption is skipped: METHOD's eleventh failure."""
    result = evaluate(prediction(), prediction(pred_mask=None, cycle_mask=None, caption=None))
    for name in ("refer_ciou", "refer_giou", "cycle_iou", "cycle_giou", "caption_colour", "caption_grammar"):
        assert result[name] == 0.5


def test_each_metric_reads_its_own_mask():
    result = evaluate(prediction(pred_mask=rows(1), cycle_mask=rows(4)))
    assert (result["refer_ciou"], result["cycle_iou"]) == (0.5, 0.5)
    assert evaluate(prediction(pred_mask=rows(1)))["cycle_iou"] == 1


def test_samples_without_expression_or_attributes_do_not_dilute():
    """Red when a mask without text counts as a failed referring, or a photo's caption as a wrong one."""
    photo = prediction(kind="cycle", text=None, attributes={}, pred_mask=None, caption="a dog")
    result = evaluate(prediction(), photo)
    assert (result["refer_ciou"], result["caption_attribute_accuracy"], result["cycle_iou"]) == (1, 1, 1)


@pytest.mark.parametrize("metric", [ReferringMetric, CaptionMetric, CycleMetric])
def test_every_sample_leaves_one_entry(metric: type):
    """Red when samples are filtered before collection.

    MMEngine interleaves the ranks' lists by position and cuts them to the shortest: results would be lost.
    """
    one = metric()
    one.process(None, [prediction(), prediction(text=None, attributes={}), prediction()])
    assert len(one.results) == 3

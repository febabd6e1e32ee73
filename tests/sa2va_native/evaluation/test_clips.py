"""J, F and J&F of clips."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.evaluator import Evaluator

from sa2va_native.evaluation.boundary import boundary_f
from sa2va_native.evaluation.clip_metric import ClipMetric
from sa2va_native.evaluation.clips import clip_scores
from tests.sa2va_native.evaluation.masks import blob

EMPTY = np.zeros_like(blob(0))


def test_a_given_first_frame_and_the_last_one_do_not_count() -> None:
    """DAVIS semi-supervised. Red when the mask that was given is scored, or frames are dropped for text."""
    pred, true = np.stack([blob(0), blob(1), blob(2), EMPTY]), np.stack([blob(0), blob(3), blob(2), blob(2)])
    j = [(p & t).sum() / (p | t).sum() for p, t in zip(pred, true, strict=True)]
    f = [boundary_f(p, t) for p, t in zip(pred, true, strict=True)]
    assert clip_scores(pred, true, first_given=True) == pytest.approx((np.mean(j[1:3]), np.mean(f[1:3])))
    assert clip_scores(pred, true, first_given=False) == pytest.approx((np.mean(j), np.mean(f)))


def test_where_the_object_is_not_seen_nothing_is_right() -> None:
    """Red when frames without the object divide by zero, are skipped, or reward a mask."""
    true = np.stack([EMPTY, EMPTY])
    assert clip_scores(true, true, first_given=False) == (1, 1)
    assert clip_scores(None, true, first_given=False) == (1, 1)
    assert clip_scores(np.stack([blob(0), EMPTY]), true, first_given=False) == (0.5, 0.5)
    assert clip_scores(None, np.stack([blob(0), EMPTY]), first_given=False) == (0.5, 0.5)


def test_clips_without_a_frame_to_score_or_of_another_size_are_errors() -> None:
    """Red when they become NaN, or a prediction of fewer frames is cut to fit."""
    two = np.stack([blob(0), blob(1)])
    with pytest.raises(ValueError, match="2 frames"):
        clip_scores(two, two, first_given=True)
    with pytest.raises(ValueError, match=r"\(1, 37, 61\).*\(2, 37, 61\)"):
        clip_scores(two[:1], two, first_given=False)


def test_objects_count_once_however_long_their_clips_are() -> None:
    """Red when frames are pooled over clips, or J&F is not the mean of both."""
    long, short = np.stack([blob(0)] * 5), np.stack([blob(1)] * 2)
    samples = [
        {"kind": "clip", "source": "davis", "text": "it", "pred_mask": long, "gt_mask": long},
        {"kind": "clip", "source": "davis", "text": "it", "pred_mask": np.stack([EMPTY, blob(1)]), "gt_mask": short},
        {"kind": "refer", "source": "davis", "pred_mask": None, "gt_mask": blob(0)},
    ]
    evaluator = Evaluator([dict(type=ClipMetric, source="davis")])
    evaluator.process(samples, None)
    assert evaluator.evaluate(3) == {"davis/clip_j": 0.75, "davis/clip_f": 0.75, "davis/clip_jf": 0.75}


def test_a_clip_without_text_was_given_its_first_mask() -> None:
    """Red when the mask that a model was given counts as found by it."""
    true, found = np.stack([blob(0)] * 4), np.stack([blob(0), EMPTY, blob(0), EMPTY])
    sample = {"kind": "clip", "source": "davis", "text": None, "pred_mask": found, "gt_mask": true}
    evaluator = Evaluator([dict(type=ClipMetric, source="davis")])
    evaluator.process([sample], None)
    assert evaluator.evaluate(1)["davis/clip_j"] == 0.5

"""What each sample adds to the figures of expressions, by hand, and against pycocotools."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from sa2va_native.evaluation.caption_metric import CaptionMetric
from sa2va_native.evaluation.clip_metric import ClipMetric
from sa2va_native.evaluation.cycle_metric import CycleMetric
from sa2va_native.evaluation.referring_details import (
    ReferringBoundary,
    ReferringPrecision,
    ReferringSizes,
    ReferringTargets,
)
from sa2va_native.evaluation.referring_metric import ReferringMetric
from sa2va_native.evaluation.segmentation import mean
from sa2va_native.evaluation.terms import ratio, size_of
from tests.ranks import run_ranks
from tests.sa2va_native.evaluation.masks import blob, edge_cases

EMPTY = np.zeros_like(blob(0))
METRICS = (
    ReferringMetric, ReferringPrecision, ReferringTargets, ReferringSizes, ReferringBoundary,
    ClipMetric, CycleMetric, CaptionMetric,
)  # fmt: skip


def sample(pred: np.ndarray | None, true: np.ndarray) -> dict[str, Any]:
    return {"kind": "refer", "source": "val", "pred_mask": pred, "gt_mask": true}


def bars(length: int, shape: tuple[int, int] = (10, 10)) -> np.ndarray:
    """The first ``length`` pixels."""
    return (np.arange(shape[0] * shape[1]) < length).reshape(shape)


def scores(metric: type, samples: list[dict[str, Any]]) -> dict[str, float]:
    one = metric()
    one.process(None, samples)
    return one.evaluate(len(samples))


def test_ious_and_sizes_are_those_of_pycocotools() -> None:
    """Every pair of edge cases. Red when a pixel counts differently from COCO's code; it has 0 for two empty masks."""
    coded = {name: coco.encode(np.asfortranarray(mask, np.uint8)) for name, mask in edge_cases().items()}
    for (pred_name, pred), (true_name, true) in itertools.product(edge_cases().items(), repeat=2):
        expected = float(coco.iou([coded[pred_name]], [coded[true_name]], [0])[0, 0])
        if not true.any() and not pred.any():
            expected = 1.0
        assert scores(ReferringMetric, [sample(pred, true)])["refer_giou"] == expected
        if true.any():
            name = f"refer_giou_{size_of(int(coco.area(coded[true_name])))}"
            assert scores(ReferringSizes, [sample(pred, true)])[name] == expected


def test_a_precision_counts_ious_from_its_threshold_on() -> None:
    """All ties: IoU of exactly 0.5, 0.6, ... Red when an IoU on the threshold fails, or rounding decides."""
    exact = [sample(bars(10 * tenths), bars(100)) for tenths in (5, 6, 7, 8, 9)]
    assert scores(ReferringPrecision, exact) == {
        "refer_p50": 1.0,
        "refer_p60": 0.8,
        "refer_p70": 0.6,
        "refer_p80": 0.4,
        "refer_p90": 0.2,
    }
    below = [sample(bars(10 * tenths - 1), bars(100)) for tenths in (5, 6, 7, 8, 9)]
    assert scores(ReferringPrecision, below)["refer_p50"] == 0.8


def test_expressions_without_a_target() -> None:
    """GRES: N-acc = TP / (TP + FN), T-acc = TN / (TN + FP), where "positive" means "no target".

    Red when one is taken for the other, or an expression without a target counts as found or missed.
    """
    samples = [
        sample(EMPTY, EMPTY),  # TP
        sample(None, EMPTY),  # TP, a missing mask is an empty one
        sample(blob(0), EMPTY),  # FN
        sample(blob(0), blob(0)),  # TN
        sample(blob(1), blob(0)),  # TN, whatever the IoU
        sample(blob(0), blob(0)),  # TN
        sample(None, blob(0)),  # FP
        sample(EMPTY, blob(0)),  # FP
    ]
    assert scores(ReferringTargets, samples) == {"refer_n_acc": 2 / 3, "refer_t_acc": 3 / 5}
    assert scores(ReferringPrecision, samples)["refer_p90"] == 2 / 5
    assert scores(ReferringBoundary, samples) == scores(ReferringBoundary, samples[3:])
    # gIoU of GRES: a rejected expression without a target has IoU 1, an answered one 0 and its pixels in the union
    overlap = (blob(0) & blob(1)).sum() / (blob(0) | blob(1)).sum()
    result = scores(ReferringMetric, samples)
    assert result["refer_giou"] == pytest.approx((2 + 0 + 1 + overlap + 1 + 0 + 0) / 8)
    intersection = 2 * blob(0).sum() + (blob(0) & blob(1)).sum()
    union = 5 * blob(0).sum() + (blob(0) | blob(1)).sum()
    assert result["refer_ciou"] == pytest.approx(intersection / union)


def test_figures_that_nothing_is_known_of_are_left_out() -> None:
    """Red when a set without small objects, or without missing targets, reports NaN or 0."""
    assert scores(ReferringTargets, [sample(blob(0), blob(0))]) == {"refer_t_acc": 1}
    assert not scores(ReferringSizes, [sample(None, EMPTY)])
    assert not scores(ReferringPrecision, [sample(None, EMPTY)])


@pytest.mark.parametrize(
    ("area", "size"),
    [(1, "small"), (1023, "small"), (1024, "medium"), (9215, "medium"), (9216, "large"), (10**6, "large")],
)
def test_sizes_are_those_of_coco(area: int, size: str) -> None:
    """Red when an area is in px of the squashed picture's side, or on the wrong side of a bound."""
    assert size_of(area) == size


def test_sizes_are_scored_apart() -> None:
    """Red when an object counts under the size of its prediction, or under two."""
    small, large = bars(100, (100, 100)), bars(9500, (100, 100))
    result = scores(ReferringSizes, [sample(large, small), sample(small, large), sample(None, small)])
    assert result == {
        "refer_ciou_small": 100 / 9600,
        "refer_giou_small": 100 / 9500 / 2,
        "refer_ciou_large": 100 / 9500,
        "refer_giou_large": 100 / 9500,
    }


def test_sums_do_not_depend_on_the_order() -> None:
    """Red when ranks, which pool their samples in another order, differ in the last digit."""
    values = [*np.random.default_rng(0).random(999) ** 9, 1e-17, 1.0]
    assert len({mean(list(np.random.default_rng(seed).permutation(values))) for seed in range(20)}) == 1
    terms = [(value, 1.0) for value in values]
    assert ratio(terms) == ratio(terms[::-1]) == mean(values)
    assert ratio([(0, 0), (0, 0)]) == 1
    assert math.isnan(ratio([]))


def _on_ranks() -> list[dict[str, float]]:
    """On each rank: its metrics over an uneven part of the samples; the last of three ranks has none."""
    from mmengine.dist import get_dist_info

    from sa2va_native.parallel.process_group import init_cpu_process_group

    init_cpu_process_group(use_deepspeed=False)
    rank, world_size = get_dist_info()
    samples = []
    for i in range(11):
        expression = sample(blob(i) if i % 4 else None, blob(i // 2) if i % 3 else EMPTY)
        described = dict(caption=f"a dog {i % 3}", stopped=i % 2 == 0, text=f"a dog {i % 4}", picture_id=str(i // 5))
        masks = dict(pred_mask=np.stack([blob(i), blob(i + 1)]), gt_mask=np.stack([blob(i), blob(i + 2)]))
        clip = dict(kind="clip", text="it", **masks)
        cycle = dict(kind="cycle", cycle_mask=expression["pred_mask"])
        samples += [expression | more for more in ({}, clip, cycle, dict(kind="caption", **described))]
    mine = samples if world_size == 1 else samples[:9] if rank == 0 else samples[9:] if rank == 1 else []
    return [scores(metric, mine) for metric in METRICS]


@pytest.mark.slow
def test_any_number_of_ranks_gives_the_same_figures() -> None:
    """Exactly. Red when a rank's samples count twice or not at all, or the order of the ranks matters."""
    (alone,) = run_ranks(1, _on_ranks)
    assert all(alone)
    for world_size in (2, 3):
        assert run_ranks(world_size, _on_ranks) == [alone] * world_size

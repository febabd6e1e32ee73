"""Mask metrics by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sa2va_native.evaluation.segmentation import cumulative_iou, intersection_union, mean_iou


def rows(start: int, stop: int) -> np.ndarray:
    mask = np.zeros((10, 10), bool)
    mask[start:stop] = True
    return mask


def test_intersection_and_union_count_pixels():
    assert intersection_union(rows(0, 4), rows(2, 8)) == (20, 80)


def test_a_missing_prediction_is_an_empty_mask():
    """Red when missing predictions are skipped, which inflates cIoU."""
    pairs = [intersection_union(rows(0, 4), rows(0, 4)), intersection_union(None, rows(0, 6))]
    assert pairs[1] == intersection_union(rows(0, 0), rows(0, 6)) == (0, 60)
    assert cumulative_iou(pairs) == pytest.approx(40 / 100)
    assert mean_iou(pairs) == pytest.approx(0.5)


def test_ciou_weighs_by_area_and_giou_by_sample():
    """Red when the two are swapped."""
    pairs = [(90, 100), (0, 10)]
    assert cumulative_iou(pairs) == pytest.approx(90 / 110)
    assert mean_iou(pairs) == pytest.approx(0.45)


def test_conventions_for_nothing():
    """Red when both empty divides by zero, or no sample looks like a result."""
    assert mean_iou([(0, 0), (0, 10)]) == 0.5
    assert cumulative_iou([(0, 0)]) == 1.0
    assert math.isnan(cumulative_iou([]))
    assert math.isnan(mean_iou([]))


def test_masks_of_another_size_are_an_error():
    """Red when a low-resolution prediction broadcasts against the true mask."""
    with pytest.raises(ValueError, match=r"\(1, 10\).*\(10, 10\)"):
        intersection_union(rows(0, 4)[:1], rows(0, 4))

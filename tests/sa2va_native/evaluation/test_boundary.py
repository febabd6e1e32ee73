"""The boundary measure against one written apart from it, with scikit-image and SciPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from skimage.morphology import dilation, disk

from sa2va_native.evaluation.boundary import TOLERANCE, boundary_f, contour
from tests.sa2va_native.evaluation.masks import blob, edge_cases


def contour_by_hand(mask: np.ndarray) -> np.ndarray:
    """``seg2bmap`` of davis2017-evaluation, pixel by pixel: on the last row and column only one neighbour is left."""
    height, width = mask.shape
    found = np.zeros_like(mask)
    for y, x in itertools.product(range(height), range(width)):
        near = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
        found[y, x] = any(mask[y, x] != mask[at] for at in near if at[0] < height and at[1] < width)
    return found


def f_by_hand(pred: np.ndarray, true: np.ndarray) -> float:
    """``f_measure`` of davis2017-evaluation with scikit-image's disk and dilation."""
    reach = int(np.ceil(TOLERANCE * np.linalg.norm(true.shape)))
    ours, theirs = contour_by_hand(pred), contour_by_hand(true)
    if not ours.sum() and not theirs.sum():
        precision, recall = 1.0, 1.0
    elif not theirs.sum():
        precision, recall = 0.0, 1.0
    elif not ours.sum():
        precision, recall = 1.0, 0.0
    else:
        precision = (ours & dilation(theirs, disk(reach))).sum() / ours.sum()
        recall = (theirs & dilation(ours, disk(reach))).sum() / theirs.sum()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("shape", [(37, 61), (1, 1), (1, 9), (2, 300)])
def test_f_is_that_of_the_protocol(shape: tuple[int, int]) -> None:
    """Every pair of edge cases. Red when the edge, empty and full masks, or the disk are taken otherwise."""
    masks = (
        edge_cases(shape).values() if min(shape) > 7 else [np.zeros(shape, bool), np.ones(shape, bool), blob(0, shape)]
    )
    for mask in masks:
        assert (contour(mask) == contour_by_hand(mask)).all()
    for pred, true in itertools.product(masks, repeat=2):
        assert boundary_f(pred, true) == pytest.approx(f_by_hand(pred, true), abs=1e-12)


def test_contours_meet_within_the_tolerance_and_not_beyond() -> None:
    """Distances by SciPy on a picture whose tolerance is several pixels. Red when the disk is a square."""
    pred, true = (blob(seed, (300, 400), 12.0) for seed in (1, 2))
    reach = math.ceil(0.008 * 500)
    ours, theirs = contour(pred), contour(true)
    precision = (distance_transform_edt(~theirs)[ours] <= reach).mean()
    recall = (distance_transform_edt(~ours)[theirs] <= reach).mean()
    assert reach == 4
    assert boundary_f(pred, true) == pytest.approx(2 * precision * recall / (precision + recall))


def test_a_missing_mask_is_an_empty_one() -> None:
    """Red when a missing prediction is skipped, or agrees with a true object."""
    for true in edge_cases().values():
        assert boundary_f(None, true) == boundary_f(np.zeros_like(true), true)
    assert boundary_f(None, blob(0)) == 0


def test_masks_of_another_size_are_an_error() -> None:
    """Red when a low-resolution prediction is broadcast."""
    with pytest.raises(ValueError, match=r"\(1, 61\).*\(37, 61\)"):
        boundary_f(blob(0)[:1], blob(0))

"""Mask metrics as pure functions.

A missing prediction is an empty mask, never a skipped sample: skipping inflates every mean. Means are exactly rounded
sums, so they do not depend on the order of the samples, nor on which rank had them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np


def predicted(pred_mask: np.ndarray | None, gt_mask: np.ndarray) -> np.ndarray:
    """A prediction that may be missing: ``pred_mask`` itself, bool of the shape of ``gt_mask``; None counts as empty.

    Raises:
        ValueError: the shapes differ.
    """
    if pred_mask is None:
        return np.zeros_like(gt_mask)
    if pred_mask.shape != gt_mask.shape:
        raise ValueError(f"predicted mask of shape {pred_mask.shape}, true mask of shape {gt_mask.shape}")
    return pred_mask


def intersection_union(pred_mask: np.ndarray | None, gt_mask: np.ndarray) -> tuple[int, int]:
    """Number of pixels in both masks, and in either.

    Args:
        pred_mask: bool (H, W); None counts as empty.
        gt_mask: bool (H, W).

    Raises:
        ValueError: the shapes differ.
    """
    pred_mask = predicted(pred_mask, gt_mask)
    return int((pred_mask & gt_mask).sum()), int((pred_mask | gt_mask).sum())


def cumulative_iou(pairs: Iterable[tuple[int, int]]) -> float:
    """cIoU: all intersections over all unions, in 0..1, so large objects weigh more.

    1 when every union is empty, NaN without samples.

    Args:
        pairs: (intersection, union) of each sample.
    """
    table = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
    if not len(table):
        return float("nan")
    intersection, union = table.sum(axis=0)
    return float(intersection / union) if union else 1.0


def iou(pair: tuple[int, int]) -> float:
    """IoU of (intersection, union), in 0..1; 1 if both masks are empty: nothing was there and nothing was predicted."""
    intersection, union = pair
    return intersection / union if union else 1.0


def mean(values: Sequence[float]) -> float:
    """The exactly rounded sum over the number of values; NaN without values."""
    return math.fsum(values) / len(values) if values else float("nan")


def mean_iou(pairs: Iterable[tuple[int, int]]) -> float:
    """gIoU (as in GRES, arXiv 2306.00968): mean of the samples' :func:`iou`, in 0..1; NaN without samples."""
    return mean([iou(pair) for pair in pairs])

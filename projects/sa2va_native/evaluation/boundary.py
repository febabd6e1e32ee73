"""How well the contour of a mask is met: the boundary measure F of DAVIS."""

from __future__ import annotations

import math

import cv2
import numpy as np

from sa2va_native.evaluation.segmentation import predicted

#: Distance up to which two contours meet, as a share of the picture's diagonal (DAVIS).
TOLERANCE = 0.008


def contour(mask: np.ndarray) -> np.ndarray:
    """Pixels of a bool mask (H, W) that differ from their neighbour to the right, below, or both; bool (H, W).

    The edge of the picture is no contour, so neither an empty nor a full mask has one (``seg2bmap`` of
    davis2017-evaluation).
    """
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, below, both = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return (mask ^ right) | (mask ^ below) | (mask ^ both)


def boundary_f(pred_mask: np.ndarray | None, gt_mask: np.ndarray) -> float:
    """F of DAVIS (Perazzi et al., CVPR 2016), in 0..1: harmonic mean of the shares of both contours that meet.

    A contour meets the other one where it is within ``ceil(TOLERANCE * diagonal)`` pixels of it. Two masks without an
    contour agree: F is 1. That holds for a full mask against an empty one too, which only J tells apart.

    Args:
        pred_mask: bool (H, W); None counts as empty.
        gt_mask: bool (H, W).

    Raises:
        ValueError: the shapes differ.
    """
    reach = math.ceil(TOLERANCE * math.hypot(*gt_mask.shape))
    ours, true = contour(predicted(pred_mask, gt_mask)), contour(gt_mask)
    if not ours.any() or not true.any():
        return float(not ours.any() and not true.any())
    window = _bounds(ours | true)  # the dilation is most of the work, and objects are small
    ours, true = ours[window], true[window]
    precision = float((ours & _widened(true, reach)).sum() / ours.sum())
    recall = float((true & _widened(ours, reach)).sum() / true.sum())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _bounds(mask: np.ndarray) -> tuple[slice, slice]:
    """The smallest window that holds every pixel that is set."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _widened(lines: np.ndarray, reach: int) -> np.ndarray:
    """Pixels at most ``reach`` away from one that is set."""
    span = np.arange(-reach, reach + 1)
    disk = (span[:, None] ** 2 + span**2 <= reach**2).astype(np.uint8)
    return cv2.dilate(lines.astype(np.uint8), disk) > 0

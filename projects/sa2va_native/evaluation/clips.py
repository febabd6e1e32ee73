"""Masks through a clip: region similarity J and boundary measure F of DAVIS."""

from __future__ import annotations

import numpy as np

from sa2va_native.evaluation.boundary import boundary_f
from sa2va_native.evaluation.segmentation import intersection_union, iou, mean, predicted


def clip_scores(pred_mask: np.ndarray | None, gt_mask: np.ndarray, first_given: bool) -> tuple[float, float]:
    """J and F of one object through a clip, both in 0..1: the means of its frames.

    In a frame where the object is not to be seen, an empty prediction is right.

    Args:
        pred_mask: bool (F, H, W); None is empty in every frame.
        gt_mask: bool (F, H, W).
        first_given: the first mask was given, as in DAVIS-17 semi-supervised, which leaves out the first and the last
            frame. Otherwise the object was named by text alone (Ref-DAVIS, MeViS, ReVOS), and every frame counts.

    Raises:
        ValueError: the shapes differ, or no frame is left to score.
    """
    pred_mask = predicted(pred_mask, gt_mask)
    frames = range(1, len(gt_mask) - 1) if first_given else range(len(gt_mask))
    if not frames:
        raise ValueError(f"a clip of {len(gt_mask)} frames has none to score{' without its ends' * first_given}")
    pairs = [(pred_mask[frame], gt_mask[frame]) for frame in frames]
    return mean([iou(intersection_union(*pair)) for pair in pairs]), mean([boundary_f(*pair) for pair in pairs])

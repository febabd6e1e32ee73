"""Overlap of masks, as pure functions of tensors."""

from __future__ import annotations

from torch import Tensor


def soft_iou(probabilities: Tensor, masks: Tensor) -> Tensor:
    """Soft intersection over union of [..., h, w], 0..1: sum(p m) / sum(p + m - p m); 1 if both are empty.

    For probabilities of 0 and 1 it is the IoU (Rahman & Wang, ISVC 2016). The two broadcast.
    """
    overlap = (probabilities * masks).sum((-1, -2))
    union = probabilities.sum((-1, -2)) + masks.sum((-1, -2)) - overlap
    return (overlap / union.clamp_min(1e-6)).where(union > 0, 1.0)


def iou(mask_logits: Tensor, masks: Tensor) -> Tensor:
    """IoU of the pixels with a positive logit [..., h, w] and masks in {0, 1}; 1 if both are empty."""
    return soft_iou((mask_logits > 0).float(), masks.float())

"""Mask and language losses: pure functions of tensors.

Shapes: B batch, P points, h w mask size, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sa2va_native.models.prompts import NO_LABEL


def sample_points(values: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of maps [B, h, w] at ``points`` [B, P, 2] (x, y in 0..1) -> [B, P].

    Within half a pixel of the border the border's value holds; zeros beyond it would blur masks that touch it.
    """
    grid = 2 * points[:, :, None] - 1
    return F.grid_sample(values[:, None], grid.to(values.dtype), padding_mode="border", align_corners=False)[:, 0, :, 0]


def uncertain_points(
    mask_logits: Tensor,
    generators: Sequence[torch.Generator],
    num_points: int = 12_544,
    oversample: float = 3.0,
    importance: float = 0.75,
) -> Tensor:
    """Points on which the loss is taken: mostly where the prediction is undecided (PointRend, arXiv:1912.08193, 3.3).

    Args:
        mask_logits: [B, h, w]; no gradient flows to the choice of points.
        generators: B generators, one per sample.
        num_points: P.
        oversample: candidates per importance-sampled point, >= 1.
        importance: share of points chosen by uncertainty, 0..1; the rest is uniform.

    Returns:
        [B, P, 2] (x, y) in 0..1.
    """
    by_importance = int(importance * num_points)
    candidates = int(oversample * num_points)
    device, logits = mask_logits.device, mask_logits.detach().float()
    pool = torch.stack([torch.rand(candidates, 2, generator=generator) for generator in generators]).to(device)
    uniform = torch.stack(
        [torch.rand(num_points - by_importance, 2, generator=generator) for generator in generators]
    ).to(device)
    uncertainty = -sample_points(logits, pool).abs()
    chosen = uncertainty.topk(by_importance, dim=1).indices
    return torch.cat([pool.gather(1, chosen[..., None].expand(-1, -1, 2)), uniform], dim=1)


def point_bce(point_logits: Tensor, point_labels: Tensor) -> Tensor:
    """Binary cross-entropy per sample [B, P] -> [B]."""
    return F.binary_cross_entropy_with_logits(point_logits, point_labels, reduction="none").mean(1)


def point_dice(point_logits: Tensor, point_labels: Tensor, smooth: float = 1.0) -> Tensor:
    """Dice loss per sample [B, P] -> [B] in 0..1: 1 - (2 |a b| + s) / (|a| + |b| + s) (V-Net, arXiv:1606.04797)."""
    probabilities = point_logits.sigmoid()
    overlap = (probabilities * point_labels).sum(1)
    return 1 - (2 * overlap + smooth) / (probabilities.sum(1) + point_labels.sum(1) + smooth)


def sample_mask_losses(
    mask_logits: Tensor,
    gt_masks: Tensor,
    generators: Sequence[torch.Generator],
    *,
    num_points: int = 12_544,
    oversample: float = 3.0,
    importance: float = 0.75,
    bce_weight: float = 2.0,
    dice_weight: float = 0.5,
) -> dict[str, Tensor]:
    """Weighted ``loss_mask`` (BCE) and ``loss_dice`` on uncertain points, each [B] by sample, in float32.

    Args:
        mask_logits: [B, h, w].
        gt_masks: [B, h, w] in {0, 1}.
        generators: B generators, one per sample.
        num_points: see :func:`uncertain_points`, as ``oversample`` and ``importance``.
        bce_weight: factor of the cross-entropy.
        dice_weight: factor of the dice loss.
    """
    logits = mask_logits.float()
    points = uncertain_points(logits, generators, num_points, oversample, importance)
    point_logits = sample_points(logits, points)
    point_labels = sample_points(gt_masks.float(), points)
    return {
        "loss_mask": bce_weight * point_bce(point_logits, point_labels),
        "loss_dice": dice_weight * point_dice(point_logits, point_labels),
    }


def mask_losses(
    mask_logits: Tensor,
    gt_masks: Tensor,
    generators: Sequence[torch.Generator],
    *,
    bce_weight: float = 2.0,
    dice_weight: float = 0.5,
    **options: Any,
) -> dict[str, Tensor]:
    """:func:`sample_mask_losses` as means over the batch; ``options`` are its own."""
    losses = sample_mask_losses(mask_logits, gt_masks, generators, bce_weight=1, dice_weight=1, **options)
    return {
        "loss_mask": bce_weight * losses["loss_mask"].mean(),
        "loss_dice": dice_weight * losses["loss_dice"].mean(),
    }


def language_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Next-token cross-entropy, a mean over the tokens of a sample, then over samples.

    The mean per sample keeps the loss independent of how samples are spread over ranks.

    Args:
        logits: [B, T, V], already aligned: row t predicts ``labels[:, t]``.
        labels: [B, T], :data:`NO_LABEL` where there is nothing to predict; a row without any label counts as 0.
    """
    losses = F.cross_entropy(logits.float().transpose(1, 2), labels, ignore_index=NO_LABEL, reduction="none")
    counts = (labels != NO_LABEL).sum(1).clamp(min=1)
    return (losses.sum(1) / counts).mean()

"""What a mask costs, reading by reading: each cost is a class, picked by ``model.cost`` in the config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from pseudo_gumbel.registry import COSTS
from sa2va_native.models.losses import point_bce, point_dice, sample_mask_losses


class Cost(Protocol):
    """Costs [N] float32 by name, of mask logits [N, h, w] against masks [N, h, w] in {0, 1}.

    The N ``generators`` are equal for the readings of one sample, so that these are compared on equal draws.
    """

    def __call__(
        self, mask_logits: Tensor, gt_masks: Tensor, generators: Sequence[torch.Generator]
    ) -> dict[str, Tensor]: ...


@COSTS.register_module()
class UncertainPointCost:
    """The method: BCE and dice on points drawn where the prediction is undecided.

    Args: see :func:`sa2va_native.models.losses.sample_mask_losses`.
    """

    def __init__(
        self,
        num_points: int = 12_544,
        oversample: float = 3.0,
        importance: float = 0.75,
        bce_weight: float = 2.0,
        dice_weight: float = 0.5,
    ) -> None:
        self.num_points, self.oversample, self.importance = num_points, oversample, importance
        self.bce_weight, self.dice_weight = bce_weight, dice_weight

    def __call__(
        self, mask_logits: Tensor, gt_masks: Tensor, generators: Sequence[torch.Generator]
    ) -> dict[str, Tensor]:
        return sample_mask_losses(
            mask_logits,
            gt_masks,
            generators,
            num_points=self.num_points,
            oversample=self.oversample,
            importance=self.importance,
            bce_weight=self.bce_weight,
            dice_weight=self.dice_weight,
        )


@COSTS.register_module()
class AllPixelCost:
    """BCE and dice over all pixels: nothing is drawn, so two readings differ by their masks alone.

    Args:
        bce_weight: factor of the cross-entropy.
        dice_weight: factor of the dice loss.
    """

    def __init__(self, bce_weight: float = 2.0, dice_weight: float = 0.5) -> None:
        self.bce_weight, self.dice_weight = bce_weight, dice_weight

    def __call__(
        self, mask_logits: Tensor, gt_masks: Tensor, generators: Sequence[torch.Generator]
    ) -> dict[str, Tensor]:
        logits, labels = mask_logits.float().flatten(1), gt_masks.float().flatten(1)
        return {
            "loss_mask": self.bce_weight * point_bce(logits, labels),
            "loss_dice": self.dice_weight * point_dice(logits, labels),
        }

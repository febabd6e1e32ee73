"""Costs that compare a mask with the true one, pixel by pixel."""

from __future__ import annotations

from torch import Tensor

from pseudo_gumbel.costs.cost import Cost
from pseudo_gumbel.costs.iou import soft_iou
from pseudo_gumbel.registry import COSTS
from pseudo_gumbel.step import CycleStep
from sa2va_native.errors import ConfigError
from sa2va_native.models.losses import point_bce, point_dice, sample_mask_losses


@COSTS.register_module()
class UncertainPointCost(Cost):
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

    def __call__(self, step: CycleStep) -> dict[str, Tensor]:
        return sample_mask_losses(
            step.mask_logits,
            step.masks,
            step.point_generators(),
            num_points=self.num_points,
            oversample=self.oversample,
            importance=self.importance,
            bce_weight=self.bce_weight,
            dice_weight=self.dice_weight,
        )


@COSTS.register_module()
class AllPixelCost(Cost):
    """BCE and dice over all pixels: nothing is drawn, so two readings differ by their masks alone.

    Args:
        bce_weight: factor of the cross-entropy.
        dice_weight: factor of the dice loss.
    """

    def __init__(self, bce_weight: float = 2.0, dice_weight: float = 0.5) -> None:
        self.bce_weight, self.dice_weight = bce_weight, dice_weight

    def __call__(self, step: CycleStep) -> dict[str, Tensor]:
        logits, labels = step.mask_logits.float().flatten(1), step.masks.float().flatten(1)
        return {
            "loss_mask": self.bce_weight * point_bce(logits, labels),
            "loss_dice": self.dice_weight * point_dice(logits, labels),
        }


@COSTS.register_module()
class SoftIouCost(Cost):
    """1 - soft IoU over all pixels, 0..1: an empty mask costs as much as the mask of any other object.

    Args:
        weight: factor of the cost, > 0.

    Raises:
        ConfigError: ``weight`` is not positive.
    """

    def __init__(self, weight: float = 1.0) -> None:
        if weight <= 0:
            raise ConfigError(f"cost.weight={weight}: must be positive; 1 costs 0 to 1, and less would reward misses")
        self.weight = weight

    def __call__(self, step: CycleStep) -> dict[str, Tensor]:
        iou = soft_iou(step.mask_logits.float().sigmoid(), step.masks.float())
        return {"loss_iou": self.weight * (1 - iou)}

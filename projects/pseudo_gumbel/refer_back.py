"""Captions that lead back to their object become referring expressions, from which the student learns to find it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pseudo_gumbel.costs.cost import Cost
from pseudo_gumbel.costs.iou import iou
from pseudo_gumbel.readers import StudentReader, TeacherReader
from pseudo_gumbel.registry import COSTS, REGULARIZERS
from pseudo_gumbel.regularizers import Regularizer
from pseudo_gumbel.step import CycleStep
from sa2va_native.errors import ConfigError


@REGULARIZERS.register_module()
class ReferBack(Regularizer):
    """Filtered pseudo-labels: the teacher's caption -> the true mask on picture 2, where the teacher itself finds it.

    The teacher reads its caption (no gradient). Where its mask overlaps the true one enough, and that of no other
    object as much if the batch has these, the student reads the same caption with gradient and learns the true mask.
    All captions are read twice, on all ranks; those that lead elsewhere weigh 0, and the mean is over all B samples.

    Logs ``referred_back``, the share of samples kept.

    Args:
        weight: factor of the loss, > 0.
        min_iou: the teacher's IoU must be above it, 0..1.
        cost: config of the mask loss, a class of :mod:`pseudo_gumbel.costs`; None: AllPixelCost.

    Raises:
        ConfigError: an option outside its range.
    """

    name = "loss_refer_back"

    def __init__(self, weight: float, min_iou: float = 0.6, cost: dict[str, Any] | None = None) -> None:
        if weight <= 0:
            raise ConfigError(f"ReferBack.weight={weight}: must be positive; without it, leave the term out")
        if not 0 <= min_iou <= 1:
            raise ConfigError(f"ReferBack.min_iou={min_iou}: an IoU, 0..1; 0.6 keeps captions that find their object")
        self.weight, self.min_iou = weight, min_iou
        self.cost: Cost = COSTS.build(cost or dict(type="AllPixelCost"))

    def __call__(self, step: CycleStep) -> Tensor:
        kept = step.spoken * self.leads_back(step.rereading(TeacherReader(), gradient=False))
        costs = self.cost(step.rereading(StudentReader(), gradient=True))
        step.losses["referred_back"] = kept.mean()
        return self.weight * (kept * torch.stack(list(costs.values())).sum(0)).mean()

    @torch.no_grad()
    def leads_back(self, step: CycleStep) -> Tensor:
        """[B] bool: whether the one reading of each sample found its object."""
        found = iou(step.mask_logits, step.masks)
        back = found > self.min_iou
        if step.others is not None:
            back &= (iou(step.mask_logits[:, None], step.others) < found[:, None]).all(1)
        return back

"""The control that tells what the masks teach from what drift alone does."""

from __future__ import annotations

import copy

from torch import Tensor

from pseudo_gumbel.costs.cost import CostOfCost
from pseudo_gumbel.registry import COSTS
from pseudo_gumbel.step import CycleStep
from sa2va_native.errors import ConfigError


@COSTS.register_module()
class AnotherMask(CostOfCost):
    """Control: every sample is held against the mask of the next sample on its rank, the last against the first's.

    All readings of a sample share it, and all else of the step stays: what still improves does so by drift alone.

    Args:
        cost: config of the cost that sees the wrong masks.

    Raises:
        ConfigError: at the first step, if a rank holds a single sample; all ranks hold as many.
    """

    def __call__(self, step: CycleStep) -> dict[str, Tensor]:
        samples = len(step.batch.keys)
        if samples < 2:
            raise ConfigError(
                f"model.cost=AnotherMask with {samples} sample on a rank: there is no other mask. Set "
                "train_dataloader.batch_size to 2 or more."
            )
        other = copy.copy(step)
        side = step.side2
        other.batch = step.batch._replace(
            mask_side=side._replace(mask=side.mask.roll(-1, 0)),
            others=None if step.others is None else step.others.roll(-1, 0),
        )
        return self.cost(other)

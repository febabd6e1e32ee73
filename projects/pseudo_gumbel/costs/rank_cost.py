"""A cost without a unit."""

from __future__ import annotations

import torch
from torch import Tensor

from pseudo_gumbel.costs.cost import CostOfCost
from pseudo_gumbel.registry import COSTS
from pseudo_gumbel.step import CycleStep
from sa2va_native.errors import ConfigError


def ranks(costs: Tensor) -> Tensor:
    """Share of the others of its row that each cost [B, S] exceeds, 0..1; ties share the mean rank. 0 if S is 1."""
    above = costs[:, :, None] - costs[:, None, :]
    return ((above > 0).float().sum(-1) + 0.5 * ((above == 0).float().sum(-1) - 1)) / max(costs.shape[1] - 1, 1)


@COSTS.register_module()
class RankCost(CostOfCost):
    """The rank of another cost among the readings of a sample: 0 the cheapest, 1 the dearest; ties share theirs.

    It keeps the order alone, so that no sample weighs more because its masks are harder.

    Args:
        cost: config of the other cost, whose total is ranked.

    Raises:
        ConfigError: at the first step, with an estimator that reads once, or that needs the cost's gradient.
    """

    def __call__(self, step: CycleStep) -> dict[str, Tensor]:
        if step.readings < 2 or step.mask_logits.requires_grad:
            raise ConfigError(
                f"model.cost=RankCost with {step.readings} reading(s) of a sample, gradient "
                f"{step.mask_logits.requires_grad}: ranks need 2 or more and have no gradient. Use "
                "model.estimator=dict(type=ScoreFunction) or WordTrials, or another cost."
            )
        total = torch.stack(list(self.cost(step).values())).sum(0)
        return {"rank": ranks(total.detach().unflatten(0, (-1, step.readings))).flatten()}

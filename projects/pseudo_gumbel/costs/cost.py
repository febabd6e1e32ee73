"""What every cost has in common."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from pseudo_gumbel.registry import COSTS
from pseudo_gumbel.step import CycleStep


class Cost(Protocol):
    """What each reading of a step costs: [N] float32 by name; their sum is :attr:`CycleStep.cost`.

    A cost may look at the whole step. Most compare ``step.mask_logits`` with ``step.masks``, and draw from
    ``step.point_generators()``.
    """

    def __call__(self, step: CycleStep) -> dict[str, Tensor]: ...


class CostOfCost:
    """The base of costs that change another one.

    Args:
        cost: config of the other cost.
    """

    def __init__(self, cost: dict[str, Any]) -> None:
        self.cost: Cost = COSTS.build(cost)

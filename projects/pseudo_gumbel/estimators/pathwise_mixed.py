"""Words that stand between the hard choice and the soft mixture."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pseudo_gumbel.estimators.pathwise import StraightThroughGumbel
from pseudo_gumbel.gumbel import Words, one_hot, pass_through
from pseudo_gumbel.registry import ESTIMATORS
from pseudo_gumbel.step import CycleStep
from sa2va_native.errors import ConfigError


@ESTIMATORS.register_module()
class MixedGumbel(StraightThroughGumbel):
    """The reader reads ``soft_share`` of the mixture and the rest of the hard word; the gradient is the mixture's.

    It takes the reader's slope between word and mixture, where it may be neither flat nor far from all words.

    Args:
        soft_share: weight of the mixture, 0..1; 0 is StraightThroughGumbel, 1 is SoftGumbel.
        **options: those of StraightThroughGumbel.

    Raises:
        ConfigError: an option outside its range.
    """

    straight_through = False

    def __init__(self, soft_share: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        if not 0 <= soft_share <= 1:
            raise ConfigError(f"estimator.soft_share={soft_share}: a share, 0..1")
        self.soft_share = soft_share

    def relax(self, logits: Tensor, step: CycleStep) -> Words:
        words = super().relax(logits, step)
        return words._replace(weights=mixed(words.weights, self.soft_share))


def mixed(soft: Tensor, soft_share: float) -> Tensor:
    """``soft_share`` of ``soft`` [..., K] and the rest of its one-hot choice, with the gradient of ``soft``."""
    values = soft.detach()
    return pass_through(soft_share * values + (1 - soft_share) * one_hot(values), soft)

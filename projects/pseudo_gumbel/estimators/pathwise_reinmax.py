"""ReinMax: a straight-through gradient that is accurate to second order (Liu et al., arXiv:2304.08612)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pseudo_gumbel.estimators.pathwise import StraightThroughGumbel
from pseudo_gumbel.gumbel import Words, as_words, perturb, widened
from pseudo_gumbel.registry import ESTIMATORS
from pseudo_gumbel.step import CycleStep


@ESTIMATORS.register_module()
class ReinMax(StraightThroughGumbel):
    """Hard words, drawn from the student's own distribution over the candidates; the gradient is ReinMax's.

    The expected gradient is exact where the cost is a quadratic function of the word's weights, as Heun's rule is;
    that of plain straight-through is exact where it is linear.

    Args:
        temperature: tau of the gradient, not of the choice; 1 is second order, larger has less variance.
        **options: those of StraightThroughGumbel.

    Raises:
        ConfigError: an option outside its range.
    """

    def __init__(self, temperature: float = 1.0, **options: Any) -> None:
        super().__init__(temperature=temperature, **options)

    def relax(self, logits: Tensor, step: CycleStep) -> Words:
        logits = widened(logits)
        drawn = perturb(logits, step.generators("gumbel"), self.top_k, self.draws, self.min_p)
        hard = drawn.hard()
        weights = reinmax(drawn.logits.expand_as(hard), hard, self.temperature)
        return as_words(logits, drawn.candidates, weights)


def reinmax(logits: Tensor, hard: Tensor, temperature: float = 1.0) -> Tensor:
    """``hard``, exactly, with ReinMax's gradient to ``logits``.

    With J(p) = diag(p) - p p', D the one-hot sample and u the gradient at it, this is
    2 J((softmax(logits / tau) + D) / 2) u - J(softmax(logits)) u / 2: Algorithm 2 of the paper.

    Args:
        logits: [..., K]; -inf takes a candidate out.
        hard: [..., K] one-hot samples of ``softmax(logits)``.
        temperature: tau > 0.
    """
    return _ReinMax.apply(logits, hard, temperature)


class _ReinMax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, hard: Tensor, temperature: float) -> Tensor:
        ctx.save_for_backward(logits, hard)
        ctx.temperature = temperature
        return hard.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        logits, hard = ctx.saved_tensors
        middle = (F.softmax(logits / ctx.temperature, -1) + hard) / 2
        return 2 * _pull(middle, gradient) - _pull(F.softmax(logits, -1), gradient) / 2, None, None


def _pull(p: Tensor, gradient: Tensor) -> Tensor:
    """J(p) u, the gradient u at probabilities [..., K] pulled back to their logits."""
    return p * (gradient - (p * gradient).sum(-1, keepdim=True))

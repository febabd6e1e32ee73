"""Gumbel-Rao: straight-through with the noise averaged out that the choice does not tell (arXiv:2010.04838)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pseudo_gumbel.estimators.pathwise import StraightThroughGumbel
from pseudo_gumbel.gumbel import Words, as_words, pass_through, perturb, widened
from pseudo_gumbel.registry import ESTIMATORS
from pseudo_gumbel.step import CycleStep
from sa2va_native.errors import ConfigError


@ESTIMATORS.register_module()
class GumbelRao(StraightThroughGumbel):
    """The method's hard words; the gradient is a mean over ``noises`` noises that lead to the same word.

    It has the same expectation as StraightThroughGumbel and less variance, for the price of ``noises`` softmaxes over
    K candidates; the number of readings stays.

    Args:
        noises: M >= 1.
        **options: those of StraightThroughGumbel.

    Raises:
        ConfigError: an option outside its range.
    """

    def __init__(self, noises: int = 16, **options: Any) -> None:
        super().__init__(**options)
        if noises < 1:
            raise ConfigError(f"estimator.noises={noises}: at least 1")
        self.noises = noises

    def relax(self, logits: Tensor, step: CycleStep) -> Words:
        logits = widened(logits)
        drawn = perturb(logits, step.generators("gumbel"), self.top_k, self.draws, self.min_p)
        hard = drawn.hard()
        perturbed = perturb_given(drawn.logits.expand_as(hard), hard, step.generators("rao"), self.noises)
        soft = F.softmax(perturbed / self.temperature, -1).mean(-2)
        return as_words(logits, drawn.candidates, pass_through(hard, soft))


def perturb_given(logits: Tensor, hard: Tensor, generators: Sequence[torch.Generator], noises: int) -> Tensor:
    """Logits plus Gumbel noise, given that ``hard`` is the largest; the noise is a constant. Equation 7 of the paper.

    Args:
        logits: [B, T, S, K]; -inf takes a candidate out.
        hard: [B, T, S, K] one-hot.
        generators: B, one per sample.
        noises: M.

    Returns:
        [B, T, S, M, K].
    """
    length, draws, width = logits.shape[1:]
    tiny = torch.finfo(torch.float32).tiny
    uniform = [torch.rand(length, draws, noises, width, generator=one) for one in generators]
    exponential = -torch.log(torch.stack(uniform).clamp(min=tiny)).to(logits)
    logits, hard = logits[..., None, :], hard[..., None, :]
    with torch.no_grad():
        log_p = logits - logits.logsumexp(-1, keepdim=True)  # logits of any size would leave the range of exp
        chosen = (exponential * hard).sum(-1, keepdim=True)
        others = -torch.log(exponential * (-log_p).exp() + chosen)
        perturbed = torch.where(hard > 0, -chosen.log(), others)
        noise = torch.where(logits.isfinite(), perturbed - log_p, 0.0)
    return logits + noise

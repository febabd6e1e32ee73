"""Does the slope of the cost at a word say what swapping the word says?

The captioner's logits l over K words, p = softmax(l), and the cost c of each word, read as a hard word, have an exact
gradient: d E[c] / d l_k = p_k (c_k - E[c]). A pathwise estimator replaces it by the gradient through the reader at one
point of the embedding space: at a sampled word (straight-through) or at a mixture of the words (soft words).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from pseudo_gumbel.gumbel import gumbel_words

#: What mixtures of K words cost: weights [B, S, K] -> [B, S], differentiable.
CostOf = Callable[[Tensor], Tensor]


class Slopes(NamedTuple):
    """Agreement of slopes with swaps for B objects, each nan where there is nothing to agree with."""

    fall: Tensor  #: [B] what the slope at the caption's word promises for the cheapest word, over what it really brings
    sign: Tensor  #: [B] 1 if that promise has the right sign, else 0
    straight_through: Tensor  #: [B] cosine of the mean push on the K words with the exact one, -1..1
    soft: Tensor  #: [B] the same for soft words


def exact_push(log_p: Tensor, costs: Tensor) -> Tensor:
    """Gradient [B, K] of the expected cost with respect to the logits of K words; costs [B, K]."""
    p = log_p.exp()
    return p * (costs - (p * costs).sum(1, keepdim=True))


def pathwise_push(
    cost_of: CostOf,
    log_p: Tensor,
    generators: Sequence[torch.Generator],
    *,
    temperature: float,
    straight_through: bool,
    draws: int,
) -> Tensor:
    """Gradient [B, K] that Gumbel words pass to the logits, in the mean of ``draws``; see :func:`gumbel_words`."""
    with torch.enable_grad():
        logits = log_p.detach().clone().requires_grad_()
        words = gumbel_words(
            logits[:, None],
            generators,
            temperature=temperature,
            top_k=logits.shape[1],
            straight_through=straight_through,
            draws=draws,
        )
        weights = torch.zeros_like(words.weights).scatter(-1, words.candidates, words.weights)  # in the words' order
        cost = cost_of(weights.squeeze(1).unflatten(0, (-1, draws)))
        return torch.autograd.grad(cost.mean(1).sum(), logits)[0]


def slopes(
    cost_of: CostOf,
    log_p: Tensor,
    costs: Tensor,
    generators: Sequence[torch.Generator],
    *,
    draws: int = 8,
    straight_through: float = 0.7,
    soft: float = 2.0,
) -> Slopes:
    """Compares slopes with swaps.

    Args:
        cost_of: see :data:`CostOf`.
        log_p: [B, K] the captioner's log-probabilities, normalised; -inf for words that do not count. The first word is
            the caption's own.
        costs: [B, K] of each word, read as a hard word.
        generators: B, of the Gumbel noise.
        draws: readings over which the pushes are averaged.
        straight_through: temperature of straight-through words; the method uses 0.7.
        soft: temperature of soft words.
    """
    everything, costs = torch.arange(len(log_p), device=log_p.device), costs.float()
    best = costs.masked_fill(log_p == -torch.inf, torch.inf).argmin(1)
    gain = costs[everything, best] - costs[:, 0]
    slope = _slope_at_own_word(cost_of, log_p)
    promise = slope[everything, best] - slope[:, 0]
    push, exact = partial(pathwise_push, cost_of, log_p, generators, draws=draws), exact_push(log_p, costs)
    matters = torch.where(gain < -0.05, 0.0, torch.nan)
    return Slopes(
        promise / gain + matters,
        (promise < 0).float() + matters,
        _cosine(push(temperature=straight_through, straight_through=True), exact),
        _cosine(push(temperature=soft, straight_through=False), exact),
    )


def _slope_at_own_word(cost_of: CostOf, log_p: Tensor) -> Tensor:
    """Derivative [B, K] of the cost towards each word, at the first one."""
    with torch.enable_grad():
        weights = torch.zeros_like(log_p).index_fill(1, torch.tensor([0], device=log_p.device), 1.0).requires_grad_()
        return torch.autograd.grad(cost_of(weights[:, None]).sum(), weights)[0]


def _cosine(push: Tensor, exact: Tensor) -> Tensor:
    """[B]; nan where the words cost the same, as there is no direction then."""
    directed = exact.norm(dim=1) > 1e-2
    return torch.where(directed, torch.cosine_similarity(push, exact, dim=1), torch.nan)

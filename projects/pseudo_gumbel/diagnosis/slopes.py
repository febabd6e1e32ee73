"""Does the slope of the cost at a word say what swapping the word says?

The captioner's logits l over K words, p = softmax(l), and the cost c of each word, read as a hard word, have an exact
gradient: d E[c] / d l_k = p_k (c_k - E[c]). A pathwise estimator replaces it by pi_k (g e_k - g sum_j pi_j e_j) / tau
with the reader's slope g at one point of the embedding space: at a sampled word (straight-through) or at the mixture
sum_j pi_j e_j (soft words), pi = softmax((log p + Gumbel noise) / tau).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pseudo_gumbel.gumbel import gumbel_noise

#: What words cost if the embedding at the swapped position is a given point: [N, D] -> [N], differentiable.
CostOf = Callable[[Tensor], Tensor]


class Slopes(NamedTuple):
    """Agreement of slopes with swaps for N objects, each nan where there is nothing to agree with."""

    fall: Tensor  #: [N] what the slope at the caption's word promises for the cheapest word, over what it really brings
    sign: Tensor  #: [N] 1 if that promise has the right sign, else 0
    straight_through: Tensor  #: [N] cosine of the mean push on the K words with the exact one, -1..1
    soft: Tensor  #: [N] the same for soft words


def exact_push(log_p: Tensor, costs: Tensor) -> Tensor:
    """Gradient [N, K] of the expected cost with respect to the logits of K words; costs [N, K]."""
    p = log_p.exp()
    return p * (costs - (p * costs).sum(1, keepdim=True))


def pathwise_push(weights: Tensor, slope: Tensor, rows: Tensor, temperature: float) -> Tensor:
    """Gradient [N, K] that a pathwise estimator passes to the logits.

    Args:
        weights: [N, K] softmax of logits and noise at ``temperature``.
        slope: [N, D] of the cost, at the point that was read.
        rows: [N, K, D] embeddings of the words.
        temperature: tau > 0.
    """
    along = torch.einsum("nd,nkd->nk", slope, rows)
    return weights * (along - (weights * along).sum(1, keepdim=True)) / temperature


def slopes(
    cost_of: CostOf,
    rows: Tensor,
    log_p: Tensor,
    kept: Tensor,
    costs: Tensor,
    generator: torch.Generator,
    *,
    draws: int = 8,
    straight_through: float = 0.7,
    soft: float = 2.0,
) -> Slopes:
    """Compares slopes with swaps.

    Args:
        cost_of: see :data:`CostOf`.
        rows: [N, K, D] embeddings of the words; the first is the caption's own.
        log_p: [N, K] the captioner's log-probabilities of them, normalised.
        kept: [N, K] bool, words that count.
        costs: [N, K] of each word, read as a hard word.
        generator: of the Gumbel noise; each draw takes two readings with gradient.
        draws: over which the pushes are averaged.
        straight_through: temperature of straight-through words; the method uses 0.7.
        soft: temperature of soft words.
    """
    rows, costs = rows.float(), costs.float()
    everything = torch.arange(len(rows), device=rows.device)
    best = costs.masked_fill(~kept, torch.inf).argmin(1)
    gain = costs[everything, best] - costs[:, 0]
    promise = ((rows[everything, best] - rows[:, 0]) * _slope(cost_of, rows[:, 0])).sum(1)
    pushes = torch.zeros(2, *log_p.shape, device=rows.device)
    for _ in range(draws):
        noise = gumbel_noise(log_p.shape, [generator], rows.device)[0]
        for kind, temperature in enumerate((straight_through, soft)):
            weights = ((log_p + noise) / temperature).masked_fill(~kept, -torch.inf).softmax(1)
            hard = rows[everything, weights.argmax(1)]
            point = hard if kind == 0 else torch.einsum("nk,nkd->nd", weights, rows)
            pushes[kind] += pathwise_push(weights, _slope(cost_of, point), rows, temperature) / draws
    exact = exact_push(log_p, costs) * kept
    matters = torch.where(gain < -0.05, 0.0, torch.nan)
    return Slopes(
        promise / gain + matters,
        (promise < 0).float() + matters,
        _cosine(pushes[0], exact),
        _cosine(pushes[1], exact),
    )


def _slope(cost_of: CostOf, point: Tensor) -> Tensor:
    point = point.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad(cost_of(point).sum(), point)[0].float()


def _cosine(push: Tensor, exact: Tensor) -> Tensor:
    """[N]; nan where the words cost the same, as there is no direction then."""
    directed = exact.norm(dim=1) > 1e-2
    return torch.where(directed, torch.cosine_similarity(push, exact, dim=1), torch.nan)

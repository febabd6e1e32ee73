"""Step 4: differentiable words by a straight-through Gumbel-Softmax over the top K logits.

Gumbel-Softmax: Jang et al., arXiv:1611.01144; straight-through: Bengio et al., arXiv:1308.3432. The restriction to the
K best logits keeps memory at [B, T, K] and noise away from words that make no sense in the context.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sa2va_native.errors import ConfigError


class Words(NamedTuple):
    """Words as weights over a few candidates of the vocabulary; N rows, one or several per sample, sample by sample."""

    candidates: Tensor  #: [N, T, K] ids
    weights: Tensor  #: [N, T, K] float32 or wider, rows sum to 1; exactly one-hot when straight-through
    ids: Tensor  #: [N, T] the hard choice
    log_probs: Tensor  #: [N, T] of ``ids`` under the student's own distribution: temperature 1, full vocabulary


def log_probabilities(logits: Tensor, candidates: Tensor) -> Tensor:
    """Log-probabilities of ``candidates`` [B, T, K] under logits [B, T, V], in float32 at least."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return logits.gather(-1, candidates) - logits.logsumexp(-1, keepdim=True)


def hard_words(ids: Tensor, log_probs: Tensor) -> Words:
    """Words for given ids [N, T], each its only candidate."""
    return Words(ids[..., None], torch.ones_like(ids[..., None], dtype=torch.float32), ids, log_probs)


class _StraightThrough(torch.autograd.Function):
    """Forward: the hard tensor, exactly. Backward: the gradient goes to the soft tensor, unchanged.

    ``hard + soft - soft.detach()`` would be one-hot only up to rounding.
    """

    @staticmethod
    def forward(ctx: Any, hard: Tensor, soft: Tensor) -> Tensor:
        return hard.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient


def gumbel_noise(shape: Sequence[int], generators: Sequence[torch.Generator], device: torch.device) -> Tensor:
    """Standard Gumbel noise [B, *shape] in float32, one generator a sample.

    In float32 because bfloat16 has 256 values below 1: -log(-log(u)) would lose its tails.
    """
    tiny = torch.finfo(torch.float32).tiny
    uniform = torch.stack([torch.rand(*shape, generator=generator) for generator in generators]).clamp(min=tiny)
    return -torch.log(-torch.log(uniform)).to(device)


def gumbel_words(
    logits: Tensor,
    generators: Sequence[torch.Generator],
    *,
    temperature: float = 0.7,
    top_k: int = 128,
    straight_through: bool = True,
) -> Words:
    """Sample one word per position, differentiably.

    Args:
        logits: [B, T, V], any float type; computed in float32 at least.
        generators: B, one per sample. Noise is drawn position by position, so that padding T does not change it.
        temperature: tau > 0; small is near one-hot with a sharp gradient.
        top_k: K candidates per position, 1..V.
        straight_through: forward exactly one-hot; otherwise the soft distribution itself.

    Raises:
        ConfigError: ``top_k`` exceeds the vocabulary, or ``temperature`` is not positive.
    """
    vocabulary = logits.shape[-1]
    if not 1 <= top_k <= vocabulary:
        raise ConfigError(f"top_k={top_k} with a vocabulary of {vocabulary}: choose 1 <= top_k <= {vocabulary}")
    if temperature <= 0:
        raise ConfigError(f"temperature={temperature}: must be positive; the method uses 0.7")
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    best, candidates = logits.topk(top_k, dim=-1)
    noise = gumbel_noise(best.shape[1:], generators, logits.device)
    soft = F.softmax((best + noise) / temperature, dim=-1)
    choice = soft.argmax(-1, keepdim=True)
    ids = candidates.gather(-1, choice)
    log_probs = log_probabilities(logits, ids).squeeze(-1)
    ids = ids.squeeze(-1)
    if not straight_through:
        return Words(candidates, soft, ids, log_probs)
    hard = torch.zeros_like(soft).scatter(-1, choice, 1.0)
    return Words(candidates, _StraightThrough.apply(hard, soft), ids, log_probs)

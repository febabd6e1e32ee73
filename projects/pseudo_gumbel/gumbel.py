"""Step 4: differentiable words by a straight-through Gumbel-Softmax over the top K logits.

Gumbel-Softmax: Jang et al., arXiv:1611.01144; straight-through: Bengio et al., arXiv:1308.3432. The restriction to the
K best logits keeps memory at [B, T, K] and noise away from words that make no sense in the context.
"""

from __future__ import annotations

import math
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
    lengths: Tensor | None = None  #: [N] number of words that count; None: those of the captions

    def detach(self) -> Words:
        """The same outside any graph."""
        ids, log_probs = self.ids.detach(), self.log_probs.detach()
        return Words(self.candidates.detach(), self.weights.detach(), ids, log_probs, self.lengths)


def log_probabilities(logits: Tensor, candidates: Tensor) -> Tensor:
    """Log-probabilities of ``candidates`` [B, T, K] under logits [B, T, V], in float32 at least."""
    logits = widened(logits)
    return logits.gather(-1, candidates) - logits.logsumexp(-1, keepdim=True)


def widened(logits: Tensor) -> Tensor:
    """Logits in float32 at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def hard_words(ids: Tensor, log_probs: Tensor) -> Words:
    """Words for given ids [N, T], each its only candidate."""
    return Words(ids[..., None], torch.ones_like(ids[..., None], dtype=torch.float32), ids, log_probs)


def one_hot(weights: Tensor) -> Tensor:
    """The heaviest of the last axis, exactly 1; the others 0."""
    return torch.zeros_like(weights).scatter(-1, weights.detach().argmax(-1, keepdim=True), 1.0)


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


def pass_through(hard: Tensor, soft: Tensor) -> Tensor:
    """``hard``, exactly, with the gradient of ``soft``."""
    return _StraightThrough.apply(hard, soft)


def gumbel_noise(shape: Sequence[int], generators: Sequence[torch.Generator], device: torch.device) -> Tensor:
    """Standard Gumbel noise [B, *shape] in float32, one generator a sample.

    In float32 because bfloat16 has 256 values below 1: -log(-log(u)) would lose its tails.
    """
    tiny = torch.finfo(torch.float32).tiny
    uniform = torch.stack([torch.rand(*shape, generator=generator) for generator in generators]).clamp(min=tiny)
    return -torch.log(-torch.log(uniform)).to(device)


class Perturbed(NamedTuple):
    """The candidates of each position and the Gumbel noise of S draws; B samples."""

    candidates: Tensor  #: [B, T, K] ids, the likeliest first
    logits: Tensor  #: [B, T, 1, K] float32 or wider; -inf for a candidate that is out
    noise: Tensor  #: [B, T, S, K]

    def soft(self, temperature: float) -> Tensor:
        """[B, T, S, K] softmax of the perturbed logits."""
        return F.softmax((self.logits + self.noise) / temperature, dim=-1)

    def hard(self) -> Tensor:
        """[B, T, S, K] one-hot choice: a sample of the candidates' softmax at temperature 1 (Gumbel-max)."""
        return one_hot(self.logits + self.noise)


def perturb(
    logits: Tensor, generators: Sequence[torch.Generator], top_k: int, draws: int = 1, min_p: float = 0.0
) -> Perturbed:
    """Candidates and noise from logits [B, T, V]; the options are those of :func:`gumbel_words`."""
    vocabulary = logits.shape[-1]
    if not 1 <= top_k <= vocabulary:
        raise ConfigError(f"top_k={top_k} with a vocabulary of {vocabulary}: choose 1 <= top_k <= {vocabulary}")
    best, candidates = widened(logits).topk(top_k, dim=-1)
    if min_p:
        # p / p_max needs no softmax
        best = best.masked_fill(best - best[..., :1] < math.log(min_p), -torch.inf)
    noise = gumbel_noise((logits.shape[1], draws, top_k), generators, logits.device)
    return Perturbed(candidates, best[:, :, None], noise)


def as_words(logits: Tensor, candidates: Tensor, weights: Tensor) -> Words:
    """S rows per sample, of which the heaviest candidates are the hard choice.

    Args:
        logits: [B, T, V].
        candidates: [B, T, K].
        weights: [B, T, S, K].
    """
    ids = candidates.gather(-1, weights.detach().argmax(-1))
    rows = candidates[:, :, None].expand(weights.shape), weights, ids, log_probabilities(logits, ids)
    return Words(*(one.transpose(1, 2).flatten(0, 1) for one in rows))


def gumbel_words(
    logits: Tensor,
    generators: Sequence[torch.Generator],
    *,
    temperature: float = 0.7,
    top_k: int = 128,
    straight_through: bool = True,
    draws: int = 1,
    min_p: float = 0.0,
) -> Words:
    """Sample one word per position, differentiably.

    Args:
        logits: [B, T, V], any float type; computed in float32 at least.
        generators: B, one per sample. Noise is drawn position by position, so that padding T does not change it.
        temperature: tau > 0; small is near one-hot with a sharp gradient.
        top_k: K candidates per position, 1..V.
        straight_through: forward exactly one-hot; otherwise the soft distribution itself.
        draws: S >= 1 rows of words per sample, each with noise of its own.
        min_p: candidates with less than this share of the likeliest word's probability are out, 0..1; probabilities
            are the student's, at temperature 1 and before noise (min-p sampling, arXiv:2407.01082). 0 keeps all.

    Returns:
        N = B * S rows, those of a sample one after the other.

    Raises:
        ConfigError: ``top_k`` exceeds the vocabulary, or ``temperature`` is not positive.
    """
    if temperature <= 0:
        raise ConfigError(f"temperature={temperature}: must be positive; the method uses 0.7")
    logits = widened(logits)
    drawn = perturb(logits, generators, top_k, draws, min_p)
    weights = drawn.soft(temperature)
    if straight_through:
        weights = pass_through(one_hot(weights), weights)
    return as_words(logits, drawn.candidates, weights)

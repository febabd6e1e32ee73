"""Word trials: at one position the teacher's likeliest words are read side by side, and the student learns the outcome.

One step of policy improvement with the EMA teacher as prior: the target p exp(-cost / beta) is that of reward-weighted
and maximum-a-posteriori policy optimisation (Peters & Schaal, ICML 2007; Abdolmaleki et al., arXiv:1806.06920), exact
over a few words instead of sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pseudo_gumbel.estimators.estimator import Estimator, TriedWords
from pseudo_gumbel.gumbel import Words, hard_words, log_probabilities
from pseudo_gumbel.registry import ESTIMATORS
from pseudo_gumbel.step import CycleStep
from sa2va_native.errors import ConfigError


class Trial(NamedTuple):
    """Which words are tried where."""

    positions: Tensor  #: [B]
    candidates: Tensor  #: [B, K] ids, the likeliest first


def draw_positions(log_p: Tensor, allowed: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Draws a position for each sample, [B], in proportion to the entropy of log-probabilities [B, T, V].

    Only ``allowed`` [B, T] positions are drawn; a sample without any gets 0.
    """
    entropy = -(log_p.exp() * log_p).sum(-1).double() * allowed
    uniform = torch.stack([torch.rand(1, generator=one, dtype=torch.float64) for one in generators])
    cumulative = entropy.cumsum(1)
    drawn = torch.searchsorted(cumulative, uniform.to(log_p.device) * cumulative[:, -1:], right=True)[:, 0]
    return torch.minimum(drawn, (allowed.sum(1) - 1).clamp(min=0))


def posterior(log_p: Tensor, costs: Tensor, beta: float, min_p: float) -> Tensor:
    """p exp(-cost / beta), normalised over K candidates, [B, K].

    Args:
        log_p: [B, K] the prior's log-probabilities.
        costs: [B, K].
        beta: > 0, in the costs' unit; small trusts the costs, large the prior.
        min_p: candidates below this share of the likeliest get 0.
    """
    kept = log_p.exp() >= min_p * log_p.exp().amax(1, keepdim=True)
    return (log_p - costs / beta).masked_fill(~kept, -torch.inf).softmax(1)


@ESTIMATORS.register_module()
class WordTrials(Estimator):
    """The teacher's words, corrected at one position by the masks that they lead to.

    The target is the teacher's own distribution at every caption and stop position; at the tried one it is the
    posterior over the tried words. The student learns it by KL(target || student), the tried position counting as
    much as all others together. No gradient passes through the reading.

    Args:
        candidates: K words that are tried, each one reading, 2..V.
        beta: see :func:`posterior`.
        min_p: see :func:`posterior`.

    Raises:
        ConfigError: an option outside its range.
    """

    reads_with_gradient = False
    rates_stop = True  # a caption's end is language too, and would be lost first

    def __init__(self, candidates: int = 8, beta: float = 0.1, min_p: float = 0.02) -> None:
        if candidates < 2:
            raise ConfigError(f"estimator.candidates={candidates}: trials compare 2 words or more")
        if beta <= 0:
            raise ConfigError(f"estimator.beta={beta}: must be positive; 0.1 suits costs of 2.0 BCE + 0.5 dice")
        if not 0 <= min_p <= 1:
            raise ConfigError(f"estimator.min_p={min_p}: a share of the likeliest word's probability, 0..1")
        self.readings, self.beta, self.min_p = candidates, beta, min_p

    def check(self, vocabulary: int) -> None:
        if self.readings > vocabulary:
            raise ConfigError(f"estimator.candidates={self.readings} with a vocabulary of {vocabulary}: choose fewer")

    def trial(self, step: CycleStep) -> Trial:
        """The position and words that the step tries; the same at every call."""
        log_p = _log_p(step.teacher_logits)
        positions = draw_positions(log_p, _filled(step.worded), step.generators("trial"))
        candidates = log_p[_rows(log_p), positions].topk(self.readings).indices
        return Trial(positions, candidates)

    def words(self, step: CycleStep) -> Words:
        positions, candidates = self.trial(step)
        rows, logits = _rows(positions), _filled(step.logits)
        captions = step.captions.padded.to(logits.device)
        log_probs = log_probabilities(logits[:, : captions.shape[1]], captions[..., None]).expand(-1, -1, self.readings)
        log_probs, ids = log_probs.clone(), captions[..., None].repeat(1, 1, self.readings)
        ids[rows, positions] = candidates
        log_probs[rows, positions] = log_probabilities(logits, _everywhere(candidates, logits))[rows, positions]
        return hard_words(*(one.transpose(1, 2).flatten(0, 1) for one in (ids, log_probs)))

    def losses(self, step: CycleStep) -> dict[str, Tensor]:
        trial = self.trial(step)
        rows = _rows(trial.positions)
        target, log_q = self.target(step, trial), _log_p(step.logits)
        divergence = (torch.xlogy(target, target) - target * log_q).sum(-1)
        others = _filled(step.rated).clone()
        others[rows, trial.positions] = False
        rest = (divergence * others).sum(1) / others.sum(1).clamp(min=1)
        return {
            "loss_trial": (step.spoken * divergence[rows, trial.positions]).mean(),
            "loss_prior": (step.spoken * rest).mean(),
            "mask_cost": (step.spoken * step.cost.unflatten(0, (-1, self.readings)).mean(1)).mean(),
        }

    @torch.no_grad()
    def target(self, step: CycleStep, trial: Trial) -> Tensor:
        """The distributions that the student learns, [B, T + E, V] float32."""
        log_p, rows = _log_p(step.teacher_logits), _rows(trial.positions)
        prior = log_p[rows, trial.positions].gather(1, trial.candidates)
        costs = step.cost.unflatten(0, (-1, self.readings))
        tried = posterior(prior, costs, self.beta, self.min_p)
        target = log_p.exp()
        target[rows, trial.positions] = torch.zeros_like(target[:, 0]).scatter(1, trial.candidates, tried)
        return target

    @torch.no_grad()
    def tried(self, step: CycleStep, sample: int) -> list[TriedWords]:
        trial, first = self.trial(step), sample * self.readings
        position, candidates = int(trial.positions[sample]), trial.candidates[sample]
        prior, target = (
            one[sample, position, candidates] for one in (_log_p(step.teacher_logits).exp(), self.target(step, trial))
        )
        rows = list(range(first, first + self.readings))
        place = TriedWords(position, position + 1, list(candidates[:, None]), rows, prior, target)
        return [place] if len(step.captions.ids[sample]) else []


def _log_p(logits: Tensor) -> Tensor:
    return _filled(logits).float().log_softmax(-1)


def _filled(values: Tensor) -> Tensor:
    """Values [B, T, ...], padded to one position if all captions are empty; still part of the graph."""
    nothing = values.new_zeros(len(values), 1, *values.shape[2:])
    return values if values.shape[1] else torch.cat([values, nothing], 1)


def _everywhere(candidates: Tensor, logits: Tensor) -> Tensor:
    return candidates[:, None].expand(-1, logits.shape[1], -1)


def _rows(values: Tensor) -> Tensor:
    """[B] indices of the samples."""
    return torch.arange(len(values), device=values.device)

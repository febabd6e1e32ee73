"""Word trials: at a position the teacher's likeliest words are read side by side, and the student learns the outcome.

One step of policy improvement with the EMA teacher as prior: the target p exp(-cost / beta) is that of reward-weighted
and maximum-a-posteriori policy optimisation (Peters & Schaal, ICML 2007; Abdolmaleki et al., arXiv:1806.06920), exact
over a few words instead of sampled.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pseudo_gumbel.estimators.estimator import TriedWords
from pseudo_gumbel.estimators.trials import Trials, at, divergence, log_softmax
from pseudo_gumbel.registry import ESTIMATORS
from pseudo_gumbel.step import CycleStep
from pseudo_gumbel.trial import Trial, posterior
from sa2va_native.errors import ConfigError


@ESTIMATORS.register_module()
class WordTrials(Trials):
    """The teacher's words, corrected where words were tried by the masks that these lead to.

    The target is the teacher's own distribution at every caption and stop position; at a tried one it is the posterior
    over the tried words. The student learns it by KL(target || student), the tried positions counting as much as all
    others together. No gradient passes through the reading.

    A word of several tokens is learnt by its first: which word begins here is the choice that was tried. Its other
    tokens keep the teacher's distribution, which spelled them.

    Args:
        candidates: see :class:`pseudo_gumbel.estimators.trials.Trials`.
        beta: see :func:`pseudo_gumbel.trial.posterior`.
        min_p: see Trials.
        positions: see Trials.
        max_word_tokens: see Trials.

    Raises:
        ConfigError: an option outside its range.
    """

    def __init__(
        self,
        candidates: int = 8,
        beta: float = 0.1,
        min_p: float = 0.02,
        positions: int = 1,
        max_word_tokens: int = 4,
    ) -> None:
        super().__init__(candidates, positions, max_word_tokens, min_p)
        if beta <= 0:
            raise ConfigError(f"estimator.beta={beta}: must be positive; 0.1 suits costs of 2.0 BCE + 0.5 dice")
        self.beta = beta

    def losses(self, step: CycleStep) -> dict[str, Tensor]:
        trial = self.trial(step)
        apart = divergence(self.target(step, trial), log_softmax(step.logits))
        tried = self.mean_tried(step, trial, apart.gather(1, trial.positions))
        return {"loss_trial": tried, **self.held(step, trial, apart)}

    @torch.no_grad()
    def target(self, step: CycleStep, trial: Trial) -> Tensor:
        """The distributions that the student learns, [B, T + E, V] float32."""
        target = log_softmax(step.teacher_logits).exp()
        tried = posterior(self.prior(step, trial), self.costs(step), self.beta, self.min_p)
        rows = torch.arange(len(target), device=target.device)
        for p, positions in enumerate(trial.positions.T):
            there = torch.zeros_like(target[:, 0]).scatter(1, trial.candidates[:, p], tried[:, p])
            target[rows, positions] = there.where(trial.counts[:, p, None], target[rows, positions])
        return target

    @torch.no_grad()
    def tried(self, step: CycleStep, sample: int) -> list[TriedWords]:
        trial = self.trial(step)
        prior, learnt = self.prior(step, trial).exp(), at(self.target(step, trial), trial)
        places = []
        for p in range(self.positions):
            if not trial.counts[sample, p] or not len(step.captions.ids[sample]):
                continue
            first = sample * self.readings + p * self.candidates
            rows = list(range(first, first + self.candidates))
            lengths = trial.words.lengths[sample, p].tolist()
            words = [ids[:n] for ids, n in zip(trial.words.ids[sample, p], lengths, strict=True)]
            start, stop = int(trial.positions[sample, p]), int(trial.ends[sample, p])
            places.append(TriedWords(start, stop, words, rows, prior[sample, p], learnt[sample, p]))
        return places

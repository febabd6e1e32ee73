"""The exact expectation over tried words: the gradient that a score function samples, summed over all words instead."""

from __future__ import annotations

from torch import Tensor

from pseudo_gumbel.estimators.trials import Trials, at, divergence, log_softmax
from pseudo_gumbel.registry import ESTIMATORS
from pseudo_gumbel.step import CycleStep
from pseudo_gumbel.trial import expectation, kept


@ESTIMATORS.register_module()
class ExpectedCost(Trials):
    """The student's expected cost over the tried words, sum_k q(k) c_k, with the gradient through its own q.

    q is normalised over the tried words, so that only their order is learnt: see
    :func:`pseudo_gumbel.trial.expectation`. At all other caption and stop positions the student learns the teacher's
    distribution by KL, as in WordTrials; p exp(-cost / beta) is what minimises this expectation plus beta KL(q || p).
    Summing over actions: Mean Actor-Critic, Allen et al., arXiv:1709.00503.

    Args:
        candidates: see :class:`pseudo_gumbel.estimators.trials.Trials`, as for all others.
        positions: see Trials.
        max_word_tokens: see Trials.
        min_p: see Trials.
    """

    def losses(self, step: CycleStep) -> dict[str, Tensor]:
        trial = self.trial(step)
        log_q, prior = log_softmax(step.logits), self.prior(step, trial)
        tried = kept(prior, self.min_p) | ~trial.counts[..., None]  # where nothing counts, anything finite will do
        expected = expectation(at(log_q, trial), self.costs(step).detach(), tried)
        apart = divergence(log_softmax(step.teacher_logits).exp(), log_q)
        return {"loss_expected": self.mean_tried(step, trial, expected), **self.held(step, trial, apart)}

"""Score-function estimators: captions are sampled, read as hard words, and made more likely the less they cost.

REINFORCE: Williams, Machine Learning 8, 1992. Neither reader nor cost is differentiated, so any will do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pseudo_gumbel.estimators.estimator import Estimator
from pseudo_gumbel.gumbel import Words, hard_words, log_probabilities
from pseudo_gumbel.registry import ESTIMATORS
from pseudo_gumbel.step import CycleStep
from sa2va_native.errors import ConfigError


def sample_words(logits: Tensor, samples: int, generators: Sequence[torch.Generator]) -> Tensor:
    """Ids [B, T, S] drawn from the softmax of logits [B, T, V], by inversion of the cumulative distribution.

    One generator a sample; drawn position by position, so that padding T does not change a draw.
    """
    uniform = [torch.rand(logits.shape[1], samples, generator=one, dtype=torch.float64) for one in generators]
    cumulative = logits.detach().double().softmax(-1).cumsum(-1)
    drawn = torch.stack(uniform).to(logits.device) * cumulative[..., -1:]
    return torch.searchsorted(cumulative, drawn, right=True).clamp(max=logits.shape[-1] - 1)


def leave_one_out(costs: Tensor) -> Tensor:
    """Each cost [B, S] minus the mean of the other S - 1 of its row (RLOO: Kool et al., DeepRLStructPred 2019)."""
    others = (costs.sum(1, keepdim=True) - costs) / (costs.shape[1] - 1)
    return costs - others


@ESTIMATORS.register_module()
class ScoreFunction(Estimator):
    """Several captions per region; each is compared with the mean of the others, which keeps the gradient unbiased.

    Words are drawn from the student's own distribution at each position: temperature 1, whole vocabulary.

    Args:
        samples: S captions per region, >= 2; each is one reading.

    Raises:
        ConfigError: too few samples to compare one with the others.
    """

    reads_with_gradient = False
    fewest_samples = 2

    def __init__(self, samples: int = 4) -> None:
        if samples < self.fewest_samples:
            raise ConfigError(f"estimator.samples={samples}: {type(self).__name__} needs {self.fewest_samples} or more")
        self.samples = self.readings = samples

    def words(self, step: CycleStep) -> Words:
        ids = self.draw(step)
        log_probs = log_probabilities(step.word_logits, ids)
        return hard_words(*(one.transpose(1, 2).flatten(0, 1) for one in (ids, log_probs)))

    def draw(self, step: CycleStep) -> Tensor:
        """The captions that are read, [B, T, readings]."""
        return sample_words(step.word_logits, self.samples, step.generators("sample"))

    def losses(self, step: CycleStep) -> dict[str, Tensor]:
        real = step.real_words
        log_probs = (step.words.log_probs * real).sum(1).unflatten(0, (-1, self.readings))
        costs = step.cost.detach().unflatten(0, (-1, self.readings))
        advantages = self.advantages(costs)
        surrogate = (advantages * log_probs[:, : self.samples]).mean(1)  # its gradient is what counts, not its value
        return {"loss_score": (step.spoken * surrogate).mean(), "mask_cost": (step.spoken * costs.mean(1)).mean()}

    def advantages(self, costs: Tensor) -> Tensor:
        """How much more each of the S samples costs than its baseline, [B, S], from costs [B, readings]."""
        return leave_one_out(costs)


@ESTIMATORS.register_module()
class SelfCritical(ScoreFunction):
    """The same with the student's greedy caption as baseline, one more reading (Rennie et al., arXiv:1612.00563).

    Args:
        samples: S captions per region, >= 1, in addition to the greedy one.
    """

    fewest_samples = 1

    def __init__(self, samples: int = 1) -> None:
        super().__init__(samples)
        self.readings = samples + 1

    def draw(self, step: CycleStep) -> Tensor:
        return torch.cat([super().draw(step), step.word_logits.argmax(-1, keepdim=True)], -1)

    def advantages(self, costs: Tensor) -> Tensor:
        return costs[:, :-1] - costs[:, -1:]

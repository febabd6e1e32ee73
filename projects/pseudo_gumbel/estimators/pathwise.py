"""Pathwise estimators: the mask loss flows back through the reader into differentiable words."""

from __future__ import annotations

from torch import Tensor

from pseudo_gumbel.estimators.estimator import Estimator
from pseudo_gumbel.gumbel import Words, gumbel_words, hard_words, log_probabilities
from pseudo_gumbel.registry import ESTIMATORS
from pseudo_gumbel.step import CycleStep
from sa2va_native.errors import ConfigError


class Pathwise(Estimator):
    """Trains on the costs themselves; a subclass says how logits become words."""

    def losses(self, step: CycleStep) -> dict[str, Tensor]:
        weights = step.per_reading(step.spoken)
        return {name: (weights * cost).mean() for name, cost in step.costs.items()}


@ESTIMATORS.register_module()
class StraightThroughGumbel(Pathwise):
    """The method: the words are hard, the gradient is that of the soft distribution.

    Args:
        temperature: tau > 0.
        top_k: candidates per position, 1..V.
        draws: words that are drawn for each caption, with noise of their own, >= 1; each is one reading, and the loss
            is their mean.
        min_p: candidates with less than this share of the likeliest word's probability are out, 0..1; 0 keeps all.

    Raises:
        ConfigError: an option outside its range.
    """

    straight_through = True

    def __init__(self, temperature: float = 0.7, top_k: int = 128, draws: int = 1, min_p: float = 0.0) -> None:
        if temperature <= 0:
            raise ConfigError(f"estimator.temperature={temperature}: must be positive; the method uses 0.7")
        if top_k < 1:
            raise ConfigError(f"estimator.top_k={top_k}: at least 1 word per position; the method uses 128")
        if draws < 1:
            raise ConfigError(f"estimator.draws={draws}: at least 1 reading per caption; the method uses 1")
        if not 0 <= min_p <= 1:
            raise ConfigError(f"estimator.min_p={min_p}: a share of the likeliest word's probability, 0..1")
        self.temperature, self.top_k, self.draws, self.min_p = temperature, top_k, draws, min_p
        self.readings, self.words_mixed = draws, top_k

    def check(self, vocabulary: int) -> None:
        if self.top_k > vocabulary:
            raise ConfigError(
                f"estimator.top_k={self.top_k} with a vocabulary of {vocabulary}: choose top_k <= {vocabulary}"
            )

    def words(self, step: CycleStep) -> Words:
        return self.relax(step.word_logits, step)

    def relax(self, logits: Tensor, step: CycleStep) -> Words:
        """Words from logits [B, T, V]."""
        return gumbel_words(
            logits,
            step.generators("gumbel"),
            temperature=self.temperature,
            top_k=self.top_k,
            straight_through=self.straight_through,
            draws=self.draws,
            min_p=self.min_p,
        )


@ESTIMATORS.register_module()
class SoftGumbel(StraightThroughGumbel):
    """Ablation: the reader reads the soft mixture of words itself."""

    straight_through = False


@ESTIMATORS.register_module()
class DetachedGumbel(StraightThroughGumbel):
    """Ablation: the same sampled words, with the gradient to the captioner cut."""

    def words(self, step: CycleStep) -> Words:
        return self.relax(step.word_logits.detach(), step)


@ESTIMATORS.register_module()
class TeacherWords(Pathwise):
    """Control: plain self-training on the teacher's hard caption; the student's logits are not used."""

    def words(self, step: CycleStep) -> Words:
        logits = step.word_logits.detach()
        ids = step.captions.padded[:, : logits.shape[1]].to(logits.device)
        return hard_words(ids, log_probabilities(logits, ids[..., None]).squeeze(-1))

"""What is read on picture 2, by the model's own weights: the captioner's alternatives, other captions, mixtures."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pseudo_gumbel.costs import AllPixelCost
from pseudo_gumbel.estimators.trials import Trials
from pseudo_gumbel.gumbel import Words, hard_words
from pseudo_gumbel.model import PseudoGumbel
from pseudo_gumbel.readers import TeacherReader
from pseudo_gumbel.step import CycleStep
from pseudo_gumbel.trial import WholeWords, kept, likeliest


class OwnWordTrials(Trials):
    """Word trials in which the caption's own word is the first, however unlikely; nothing is learnt from them."""

    def first_tokens(self, prior: Tensor, allowed: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`pseudo_gumbel.estimators.trials.Trials.first_tokens`."""
        own = own[..., None]
        return likeliest(prior.scatter(-1, own, torch.inf), allowed.scatter(-1, own, True), self.candidates)

    def shares(self, step: CycleStep) -> Tensor:
        """Log-probabilities [B, K] at the first position, normalised over the words that count; -inf for others."""
        prior = self.prior(step, self.trial(step))[:, 0]
        counts = kept(prior, self.min_p)
        counts[:, 0] = True
        return prior.masked_fill(~counts, -torch.inf).log_softmax(-1)


def in_place_of_own(sa2va: Any, candidates: int = 8) -> dict[str, Any]:
    """Config of a cycle around ``sa2va``, a config too, that tries words as word trials do, whatever it trains with."""
    estimator = dict(type=OwnWordTrials, candidates=candidates)
    cost, reader = dict(type=AllPixelCost), dict(type=TeacherReader)
    return dict(type=PseudoGumbel, sa2va=sa2va, estimator=estimator, reader=reader, cost=cost, mask_ratio=0.0)


def reading(model: PseudoGumbel, step: CycleStep, words: Words, *, gradient: bool = False) -> CycleStep:
    """The step with N rows of words in place of its own, read and rated; gradient reaches the words alone."""
    step = copy.copy(step)
    step.readings, step.words = len(words.ids) // len(step.batch.keys), words
    step.text_embeds, step.mask_logits = model.reader(model, step, words, gradient=gradient)
    step.costs = model.mask_costs(step)
    return step


def text_words(texts: Sequence[Tensor], device: torch.device) -> Words:
    """Texts [T_i] as words that are read as they are."""
    ids = pad_sequence([*texts, torch.zeros(1, dtype=torch.long)], batch_first=True)[:-1].to(device)
    lengths = torch.tensor([len(text) for text in texts])
    return hard_words(ids, torch.zeros(ids.shape, device=device))._replace(lengths=lengths)


def single_tokens(step: CycleStep) -> CycleStep:
    """The step with its trial's first tokens alone in place of words: what estimators that sum over tokens compare."""
    step = copy.copy(step)
    trial = step.trial
    assert trial is not None
    words = WholeWords.of_one_token(trial.candidates)
    step.trial = trial._replace(words=words, ends=torch.minimum(trial.positions + 1, trial.ends))
    return step


def mixtures(ids: Tensor, positions: Tensor, candidates: Tensor, weights: Tensor) -> Words:
    """Captions with a mixture of words at one position each, N = B * S rows; differentiable.

    Args:
        ids: [B, T] of the captions.
        positions: [B].
        candidates: [B, K] ids.
        weights: [B, S, K], rows sum to 1.
    """
    here = (torch.arange(ids.shape[1], device=ids.device) == positions[:, None])[:, None, :, None]
    own = torch.zeros_like(weights[:1, :1, None]).index_fill(-1, torch.tensor([0], device=ids.device), 1.0)
    mixed = torch.where(here, weights[:, :, None], own)
    words = torch.where(here, candidates[:, None, None], ids[:, None, :, None]).expand(mixed.shape)
    rows = ids.repeat_interleave(weights.shape[1], 0)
    return Words(words.flatten(0, 1), mixed.flatten(0, 1), rows, torch.zeros(rows.shape, device=ids.device))

"""What estimators that try words have in common: which words are tried where, and language held elsewhere."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pseudo_gumbel.estimators.estimator import Estimator
from pseudo_gumbel.gumbel import Words, hard_words, log_probabilities
from pseudo_gumbel.step import CycleStep
from pseudo_gumbel.trial import Trial, WholeWords, draw_positions, likeliest, with_own_words, word_ends
from sa2va_native.errors import ConfigError


class Trials(Estimator):
    """At positions of the teacher's caption, drawn by its entropy, its likeliest words are read without gradient.

    Where a tokenizer splits words, a position is one where a word begins. Candidates are the likeliest tokens that
    begin a word; the teacher goes on with each greedily to the word's end, the old word's other tokens go, and the rest
    of the caption follows. Special tokens, punctuation and pieces of stop words are never candidates.

    Args:
        candidates: K words that are tried at each position, each one reading, 2..V.
        positions: P different positions of each caption; fewer in shorter ones, whose other readings weigh nothing.
        max_word_tokens: words of more tokens are not tried, unless they are the caption's own; that many forward
            passes of one token each. Of no effect where each token is a word.
        min_p: candidates below this share of the likeliest one's probability are left out, 0..1.

    Raises:
        ConfigError: an option outside its range.
    """

    reads_with_gradient = False
    rates_stop = True  # a caption's end is language too, and would be lost first

    def __init__(self, candidates: int = 8, positions: int = 1, max_word_tokens: int = 4, min_p: float = 0.02) -> None:
        if candidates < 2:
            raise ConfigError(f"estimator.candidates={candidates}: trials compare 2 words or more")
        if positions < 1:
            raise ConfigError(f"estimator.positions={positions}: words are tried at 1 position or more")
        if max_word_tokens < 1:
            raise ConfigError(f"estimator.max_word_tokens={max_word_tokens}: a word is 1 token or more")
        if not 0 <= min_p <= 1:
            raise ConfigError(f"estimator.min_p={min_p}: a share of the likeliest word's probability, 0..1")
        self.candidates, self.positions, self.readings = candidates, positions, candidates * positions
        self.max_word_tokens, self.min_p = max_word_tokens, min_p

    def check(self, vocabulary: int) -> None:
        if self.candidates > vocabulary:
            raise ConfigError(f"estimator.candidates={self.candidates} with a vocabulary of {vocabulary}: choose fewer")

    # -- step 4: what is read --------------------------------------------------------------------------------------

    @torch.no_grad()
    def trial(self, step: CycleStep) -> Trial:
        """The positions and words that the step tries; drawn once."""
        if step.trial is None:
            step.trial = self._draw(step)
        return step.trial

    def _draw(self, step: CycleStep) -> Trial:
        log_p, worded, captions = log_softmax(step.teacher_logits), filled(step.worded), step.captions
        begins, continues, _ = (one.to(log_p.device) for one in step.further.word_pieces)
        at_start = torch.arange(worded.shape[1], device=log_p.device) == 0
        ids = captions.padded.to(log_p.device)
        starts = worded & (at_start | F.pad(begins[ids], (0, worded.shape[1] - ids.shape[1])))
        positions, counts = draw_positions(log_p, starts, step.generators("trial"), self.positions)
        allowed = begins | ((positions == 0)[..., None] & continues)
        prior = log_p.gather(1, positions[..., None].expand(-1, -1, log_p.shape[-1]))
        first, usable = self.first_tokens(prior, allowed, ids.gather(1, positions))
        if not continues.any():
            words, ends = WholeWords.of_one_token(first), word_ends(captions.ids, positions, None)
        else:
            words = step.further.teacher_words(step, positions, first, self.max_word_tokens)
            ends = word_ends(captions.ids, positions, continues.cpu())
            words = with_own_words(words, captions.ids, positions, ends)
        words = words._replace(complete=words.complete & usable)
        return Trial(positions, counts & words.complete.any(-1), ends, words)

    def first_tokens(self, prior: Tensor, allowed: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Ids [B, P, K] that begin the words to try, and which of them count.

        Args:
            prior: [B, P, V] the teacher's log-probabilities.
            allowed: [B, P, V] bool, what can begin a word there.
            own: [B, P] the caption's own tokens.
        """
        return likeliest(prior, allowed, self.candidates)

    def words(self, step: CycleStep) -> Words:
        trial, logits = self.trial(step), filled(step.logits)
        texts = trial.rows(step.captions.ids)
        lengths = torch.tensor([len(text) for text in texts])
        ids = pad_sequence([*texts, torch.zeros(1, dtype=torch.long)], batch_first=True)[:-1].to(logits.device)
        rated = ids[:, : logits.shape[1]].unflatten(0, (-1, self.readings)).transpose(1, 2)
        log_probs = log_probabilities(logits[:, : rated.shape[1]], rated).transpose(1, 2).flatten(0, 1)
        log_probs = F.pad(log_probs, (0, ids.shape[1] - rated.shape[1]))
        # Behind a word of another length the text is no longer the one that the student rated.
        moved = (trial.words.lengths != (trial.ends - trial.positions)[..., None]) | (trial.words.lengths > 1)
        last = trial.positions[..., None].where(moved, torch.full_like(trial.words.lengths, ids.shape[1]))
        rated_at = torch.arange(ids.shape[1], device=ids.device) <= last.flatten()[:, None]
        return hard_words(ids, log_probs * rated_at)._replace(lengths=lengths)

    # -- step 6: what is learnt ------------------------------------------------------------------------------------

    def prior(self, step: CycleStep, trial: Trial) -> Tensor:
        """The teacher's log-probabilities of the words' first tokens, [B, P, K]; -inf for words that are not tried."""
        return at(log_softmax(step.teacher_logits), trial).masked_fill(~trial.words.complete, -torch.inf)

    def costs(self, step: CycleStep) -> Tensor:
        """[B, P, K]."""
        return step.cost.unflatten(0, (-1, self.positions, self.candidates))

    def mean_tried(self, step: CycleStep, trial: Trial, losses: Tensor) -> Tensor:
        """The mean over samples of the mean over tried positions, from losses [B, P]."""
        counts = trial.counts.to(losses.dtype)
        return (step.spoken * ((losses * counts).sum(1) / counts.sum(1).clamp(min=1))).mean()

    def held(self, step: CycleStep, trial: Trial, divergence: Tensor) -> dict[str, Tensor]:
        """The divergence [B, T] from the teacher at the positions where nothing was tried, and the mean cost."""
        others = filled(step.rated).clone()
        for positions, counts in zip(trial.positions.T, trial.counts.T, strict=True):
            others[torch.arange(len(others), device=others.device), positions] &= ~counts
        rest = (divergence * others).sum(1) / others.sum(1).clamp(min=1)
        return {
            "loss_prior": (step.spoken * rest).mean(),
            "mask_cost": (step.spoken * step.cost.unflatten(0, (-1, self.readings)).mean(1)).mean(),
        }


def at(log_p: Tensor, trial: Trial) -> Tensor:
    """Log-probabilities [B, P, K] of the tried words' first tokens, from those of all words [B, T, V]."""
    rows = torch.arange(len(log_p), device=log_p.device)[:, None]
    return log_p[rows, trial.positions].gather(2, trial.candidates)


def divergence(target: Tensor, log_q: Tensor) -> Tensor:
    """KL(target || q) at each position, [B, T], from [B, T, V]."""
    return (torch.xlogy(target, target) - target * log_q).sum(-1)


def log_softmax(logits: Tensor) -> Tensor:
    """In float32, of logits [B, T, V], with one position at least."""
    return filled(logits).float().log_softmax(-1)


def filled(values: Tensor) -> Tensor:
    """Values [B, T, ...], padded to one position if all captions are empty; still part of the graph."""
    nothing = values.new_zeros(len(values), 1, *values.shape[2:])
    return values if values.shape[1] else torch.cat([values, nothing], 1)

"""Trials: at a few positions of a caption, its likeliest words are put in, one by one. Pure functions of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


class WholeWords(NamedTuple):
    """Words of one or several tokens."""

    ids: Tensor  #: [B, P, K, M], right-padded
    lengths: Tensor  #: [B, P, K] >= 1
    complete: Tensor  #: [B, P, K] bool: False where more than M tokens would be needed

    @classmethod
    def of_one_token(cls, ids: Tensor) -> WholeWords:
        """From ids [B, P, K], each a word."""
        return cls(ids[..., None], torch.ones_like(ids), torch.ones_like(ids, dtype=torch.bool))


class Trial(NamedTuple):
    """Which K words are tried at which P positions of each caption: B * P * K readings, in this order."""

    positions: Tensor  #: [B, P], where a word of the caption begins
    counts: Tensor  #: [B, P] bool; False where a caption has no more words: such readings weigh nothing
    ends: Tensor  #: [B, P], where the rest of the caption begins
    words: WholeWords  #: the words that are tried there, the likeliest first; incomplete ones weigh nothing

    @property
    def candidates(self) -> Tensor:
        """[B, P, K] the first token of each word."""
        return self.words.ids[..., 0]

    def rows(self, captions: Sequence[Tensor]) -> list[Tensor]:
        """The B * P * K texts that are read: B ``captions`` [T_i] with each of the words in turn; on the CPU."""
        words, lengths = self.words.ids.cpu(), self.words.lengths.tolist()
        texts = []
        for i, (caption, starts, ends) in enumerate(
            zip(captions, self.positions.tolist(), self.ends.tolist(), strict=True)
        ):
            for p, (start, end) in enumerate(zip(starts, ends, strict=True)):
                for k, length in enumerate(lengths[i][p]):
                    put_in = words[i, p, k, :length] if len(caption) else caption
                    texts.append(torch.cat([caption[:start], put_in, caption[end:]]))
        return texts


def draw_positions(
    log_p: Tensor, allowed: Tensor, generators: Sequence[torch.Generator], count: int = 1
) -> tuple[Tensor, Tensor]:
    """Draws positions for each sample, [B, count], in proportion to the entropy of log-probabilities [B, T, V].

    Without replacement, among ``allowed`` [B, T] positions; a sample that has no more gets 0 and False in the second
    result, [B, count] bool.
    """
    entropy = -(log_p.exp() * log_p).sum(-1).double()
    places, left = torch.arange(allowed.shape[1], device=allowed.device), allowed.clone()
    positions, found = [], []
    for _ in range(count):
        cumulative = (entropy * left).cumsum(1)
        uniform = torch.stack([torch.rand(1, generator=one, dtype=torch.float64) for one in generators])
        drawn = torch.searchsorted(cumulative, uniform.to(log_p.device) * cumulative[:, -1:], right=True)[:, 0]
        positions.append(torch.minimum(drawn, (places * left).amax(1)))
        found.append(left.any(1))
        left = left & (places != positions[-1][:, None])
    return torch.stack(positions, 1), torch.stack(found, 1)


def likeliest(log_p: Tensor, allowed: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best ``count`` of the ``allowed`` [..., V] ids under log-probabilities [..., V], best first.

    Returns:
        ids [..., count], and which of them are allowed, should there be too few.
    """
    best = log_p.masked_fill(~allowed, -torch.inf).topk(count)
    return best.indices, best.values > -torch.inf


def word_ends(captions: Sequence[Tensor], positions: Tensor, continues: Tensor | None) -> Tensor:
    """Where the words end that begin at positions [B, P] of B captions [T_i], [B, P]; ``continues`` [V] bool."""
    ends = (positions + 1).tolist()
    for caption, row in zip(captions, ends, strict=True):
        for p, end in enumerate(row):
            while continues is not None and end < len(caption) and continues[caption[end]]:
                end += 1
            row[p] = min(end, len(caption))
    return torch.tensor(ends, device=positions.device)


def with_own_words(words: WholeWords, captions: Sequence[Tensor], positions: Tensor, ends: Tensor) -> WholeWords:
    """Where the caption's own first token is tried, its own word is: complete, however long it is."""
    rows, ids = [], words.ids.cpu()
    lengths, complete = words.lengths.cpu().clone(), words.complete.cpu().clone()
    for i, p, k in torch.cartesian_prod(*map(torch.arange, ids.shape[:3])).tolist():
        own = captions[i][int(positions[i, p]) : int(ends[i, p])]
        if len(own) and own[0] == ids[i, p, k, 0]:
            lengths[i, p, k], complete[i, p, k] = len(own), True
            rows.append(own)
        else:
            rows.append(ids[i, p, k, : lengths[i, p, k]])
    padded = pad_sequence(rows, batch_first=True).unflatten(0, ids.shape[:3])
    return WholeWords(*(one.to(positions.device) for one in (padded, lengths, complete)))


def kept(log_p: Tensor, min_p: float) -> Tensor:
    """Which of K candidates [..., K] have at least the share ``min_p`` of the likeliest one's probability."""
    p = log_p.exp()
    return (p >= min_p * p.amax(-1, keepdim=True)) & (log_p > -torch.inf)


def posterior(log_p: Tensor, costs: Tensor, beta: float, min_p: float) -> Tensor:
    """p exp(-cost / beta), normalised over K candidates, [..., K].

    Args:
        log_p: [..., K] the prior's log-probabilities; -inf where a candidate is out.
        costs: [..., K].
        beta: > 0, in the costs' unit; small trusts the costs, large the prior.
        min_p: candidates below this share of the likeliest get 0.
    """
    return (log_p - costs / beta).masked_fill(~kept(log_p, min_p), -torch.inf).softmax(-1)


def expectation(log_q: Tensor, costs: Tensor, tried: Tensor) -> Tensor:
    """The mean cost [...] of K candidates under log-probabilities [..., K], normalised over those ``tried`` [..., K].

    The gradient of a candidate's logit is q (cost - mean cost). Without the normalisation it would be q times a mean in
    which untried words cost nothing, and so lead to them, as costs are positive.
    """
    q = log_q.masked_fill(~tried, -torch.inf).softmax(-1)
    return (q * costs).sum(-1)

"""Which word of a caption is swapped for which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pseudo_gumbel.trial import draw_positions


class Swap(NamedTuple):
    """One position of each of B captions, and the words that are put in there."""

    positions: Tensor  #: [B]
    words: Tensor  #: [B, K] ids; the first is the caption's own, then the captioner's likeliest others
    log_p: Tensor  #: [B, K] the captioner's log-probabilities, normalised over the words that are in
    kept: Tensor  #: [B, K] bool: the caption's own word and those that the captioner finds likely enough


def whole_words(ids: Sequence[int], decode: Callable[[list[int]], str]) -> list[bool]:
    """For each token of a caption whether it is a whole word by itself.

    Only such a token is swapped: in place of a piece, other words would leave the rest of the word behind. If there is
    none, all tokens count.
    """
    count = [len(decode(list(ids[:end])).split()) for end in range(len(ids) + 1)]
    begins = [count[i] < count[i + 1] for i in range(len(ids))]
    whole = [begins[i] and (i + 1 == len(ids) or begins[i + 1]) for i in range(len(ids))]
    return whole if any(whole) else [True] * len(ids)


def choose_swap(
    log_p: Tensor,
    captions: Tensor,
    allowed: Tensor,
    candidates: int,
    min_p: float,
    generators: Sequence[torch.Generator],
) -> Swap:
    """Draws a position by the captioner's entropy, as word trials do, and its likeliest words there.

    Args:
        log_p: [B, T, V] the captioner's log-probabilities; -inf for what is no word.
        captions: [B, T] ids.
        allowed: [B, T] bool, positions that may be drawn.
        candidates: K, the caption's own word among them.
        min_p: words below this share of the likeliest are left out, 0..1.
        generators: B, one per sample.
    """
    positions = draw_positions(log_p.clamp(min=-1e4), allowed, generators)[0][:, 0]
    rows = torch.arange(len(log_p), device=log_p.device)
    here, own = log_p[rows, positions], captions[rows, positions][:, None]
    rest = here.scatter(1, own, -torch.inf).topk(candidates - 1, dim=1).indices
    words = torch.cat([own, rest], 1)
    values = here.gather(1, words)
    kept = values >= here.amax(1, keepdim=True) + torch.tensor(min_p, device=here.device).log()
    kept[:, 0] = True
    values = values.masked_fill(~kept, -torch.inf)
    return Swap(positions, words, values.clamp(min=-1e4).log_softmax(1), kept)


def swapped(caption: Tensor, position: int, words: Tensor) -> list[Tensor]:
    """K captions [T]: ``caption`` with each of ``words`` [K] at ``position``."""
    found = []
    for word in words:
        one = caption.clone()
        one[position] = word
        found.append(one)
    return found

"""Which words the referrer can distinguish: swap one word of a true expression and compare the mask losses.

The cycle can teach the captioner a word only if a wrong word costs more than the true one. Run it before any cycle
training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch

from sa2va_native.models.losses import point_bce, point_dice
from sa2va_native.models.sa2va import Sa2VA
from sa2va_native.structures import Batch


@dataclass
class Swaps:
    """Mask losses of one group of words; each entry is a true word and all of its swaps."""

    words: Sequence[str]
    losses: list[list[float]] = field(default_factory=list)  #: [true word, other words ...] per expression

    @property
    def true_is_best(self) -> float:
        """Share of expressions whose true word gives the lowest loss; chance is 1 / number of words."""
        return sum(row[0] < min(row[1:]) for row in self.losses) / len(self.losses) if self.losses else float("nan")

    @property
    def gap(self) -> float:
        """Mean loss of wrong words minus mean loss of true words."""
        table = torch.tensor(self.losses)
        return float(table[:, 1:].mean() - table[:, 0].mean()) if self.losses else float("nan")


@torch.no_grad()
def word_swaps(model: Sa2VA, batches: Iterable[Batch], groups: Sequence[Sequence[str]]) -> list[Swaps]:
    """Swap words of each group in the expressions of ``refer`` batches.

    An expression counts for a group when it holds exactly one of its words, once. The loss is 2.0 BCE + 0.5 dice
    over all pixels, with the answer given.
    """
    model.eval()
    results = [Swaps(group) for group in groups]
    for batch in batches:
        for result in results:
            rows, texts = _swapped(batch.text, result.words)
            if rows:
                losses = _mask_loss(model, _repeated(batch, rows, texts))
                result.losses += losses.view(-1, len(result.words)).tolist()
    return results


def _swapped(texts: Sequence[str | None], words: Sequence[str]) -> tuple[list[int], list[str]]:
    """For each usable text: its row, once per word, and the text with the true word, then with each other word."""
    rows: list[int] = []
    swapped: list[str] = []
    for row, text in enumerate(texts):
        tokens = (text or "").split()
        places = [i for i, token in enumerate(tokens) if token in words]
        if len(places) == 1:
            true = tokens[places[0]]
            for word in (true, *(word for word in words if word != true)):
                rows.append(row)
                swapped.append(" ".join([*tokens[: places[0]], word, *tokens[places[0] + 1 :]]))
    return rows, swapped


def _repeated(batch: Batch, rows: list[int], texts: Sequence[str]) -> Batch:
    side = batch.mask_side or batch.caption_side
    repeated = type(side)(*(tensor[rows] for tensor in side))
    return batch._replace(
        caption_side=repeated, mask_side=None, text=list(texts), keys=[batch.keys[row] for row in rows]
    )


def _mask_loss(model: Sa2VA, batch: Batch) -> torch.Tensor:
    logits = model.refer(batch)[0].mask_logits.float().flatten(1)
    truth = batch.caption_side.mask.flatten(1)
    return 2.0 * point_bce(logits, truth) + 0.5 * point_dice(logits, truth)

"""The word-swap diagnostic swaps what it says and reads the loss of the right text."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from sa2va_native.inference.word_swap import word_swaps
from tests.tiny import tiny_batch

COLOURS = ("red", "green", "blue")


class Reader:
    """Finds the mask of texts that say "green", and nothing otherwise."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def eval(self) -> None: ...

    def refer(self, batch):
        self.texts += batch.text
        sign = torch.tensor([1.0 if "green" in text.split() else -1.0 for text in batch.text])
        logits = 20 * (2 * batch.caption_side.mask - 1) * sign[:, None, None]
        return SimpleNamespace(mask_logits=logits), None


def test_true_word_is_compared_with_every_other():
    """Red when the true word is not first, a swap is left out, or a text with two of the words counts."""
    batch = tiny_batch("refer", 4)._replace(text=["the green star", "the red ring", "a ring", "the red and blue ring"])
    reader = Reader()
    colours, sizes = word_swaps(reader, [batch], [COLOURS, ("small", "large")])
    assert reader.texts == [
        *("the green star", "the red star", "the blue star"),
        *("the red ring", "the green ring", "the blue ring"),
    ]
    assert len(colours.losses) == 2
    assert colours.true_is_best == 0.5
    assert not sizes.losses

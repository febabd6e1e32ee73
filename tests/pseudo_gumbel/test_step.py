"""What a step knows of its captions, stop words included."""

from __future__ import annotations

import torch

from pseudo_gumbel.step import Captions
from tests.tiny import cycle_step

CAPTIONS = Captions([torch.tensor([5, 6]), torch.tensor([]).long(), torch.tensor([7])], [True, True, False])


def test_the_stop_word_follows_where_the_caption_stopped() -> None:
    """Red when a caption cut off by the length limit is taught to end there."""
    rows = CAPTIONS.with_stop(CAPTIONS.ids, torch.tensor([8, 9]))
    assert [row.tolist() for row in rows] == [[5, 6, 8, 9], [8, 9], [7]]


def test_positions_of_words_and_of_stop_words() -> None:
    """Red when padding is rated, or a stop word is taken for a word."""
    step = cycle_step(torch.zeros(3, 4, 10), CAPTIONS, [8, 9])
    assert step.rated.sum(1).tolist() == [4, 2, 1]
    assert step.worded.sum(1).tolist() == [2, 0, 1]
    assert step.spoken.tolist() == [1, 0, 1]

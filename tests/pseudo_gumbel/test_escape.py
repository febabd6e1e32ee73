"""The signs of reward escape, against masks and captions made by hand."""

from __future__ import annotations

import torch

from pseudo_gumbel.costs.iou import iou
from pseudo_gumbel.escape import alike, draws_elsewhere, draws_nothing


def masks(*columns: tuple[int, int]) -> torch.Tensor:
    """[N, 4, 20] with the columns from begin to end set."""
    made = torch.zeros(len(columns), 4, 20)
    for mask, (begin, end) in zip(made, columns, strict=True):
        mask[:, begin:end] = 1
    return made


TRUE = masks((0, 10))


def logits(*columns: tuple[int, int]) -> torch.Tensor:
    return 6 * masks(*columns) - 3


def test_a_mask_is_empty_only_without_any_pixel() -> None:
    """Red when a small mask counts as empty, or a logit of exactly 0 as drawn."""
    one_pixel = torch.full((1, 4, 20), -1.0)
    one_pixel[0, 0, 0] = 1e-6
    nothing = torch.cat([logits((0, 0)), torch.zeros(1, 4, 20)])
    assert draws_nothing(torch.cat([nothing, one_pixel, logits((0, 20))])).tolist() == [True, True, False, False]


def test_elsewhere_is_drawn_but_not_on_the_object() -> None:
    """Beside it, a tenth less a column on it, just a tenth on it, on it, around it, empty.

    Red when an empty mask is elsewhere, when the object's size decides instead of the mask's, or for <= instead of <.
    """
    drawn = logits((12, 15), (10, 20), (9, 19), (0, 10), (0, 20), (0, 0))
    wrong = draws_elsewhere(drawn, TRUE.expand_as(drawn))
    assert wrong.tolist() == [True, True, False, False, False, False]
    assert draws_elsewhere(logits((0, 20)), TRUE, share=0.6).item(), "half of it lies on the object"


def test_iou_is_the_share_of_columns() -> None:
    """Red when the union counts the common part twice, or two empty masks do not agree."""
    drawn = logits((0, 10), (5, 15), (10, 20), (0, 0))
    torch.testing.assert_close(iou(drawn, TRUE.expand_as(drawn)), torch.tensor([1, 1 / 3, 0, 0]))
    assert iou(logits((0, 0)), masks((0, 0))).tolist() == [1.0]


def test_alike_counts_captions_not_words() -> None:
    """Red when an order of the same words is the same caption, or no caption divides by zero."""
    assert alike([(1, 2), (2, 1), (1, 2), (), (1, 2)]) == (3 / 5, 3 / 5)
    assert alike([]) == (1.0, 0.0)

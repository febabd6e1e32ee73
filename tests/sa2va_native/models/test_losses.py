"""Losses against closed forms, grid_sample-free references and torch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sa2va_native.models.losses import (
    language_loss,
    mask_losses,
    point_bce,
    point_dice,
    sample_mask_losses,
    sample_points,
    uncertain_points,
)
from sa2va_native.models.prompts import NO_LABEL


def draws(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(count)]


def test_points_at_pixel_centres_read_the_pixels():
    """Red when x and y are exchanged or centres are off by half a pixel."""
    values = torch.arange(12.0).view(1, 3, 4)
    x, y = (torch.arange(4) + 0.5) / 4, (torch.arange(3) + 0.5) / 3
    points = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).view(1, 12, 2)
    torch.testing.assert_close(sample_points(values, points), values.view(1, 12))


def test_most_points_lie_where_the_prediction_is_undecided():
    """Red when certainty is sought.

    Half the map is undecided: all 75 % importance points fall there, and half of the others.
    """
    logits = torch.full((1, 64, 64), 20.0)
    logits[:, :, 32:] = 0.0
    points = uncertain_points(logits, draws(1), num_points=4000)
    assert points.shape == (1, 4000, 2)
    share = (points[..., 0] > 0.5).float().mean()
    assert abs(float(share) - (0.75 + 0.25 / 2)) < 0.02


def test_points_are_the_same_alone_and_in_a_batch():
    logits = torch.randn(2, 16, 16)
    together = uncertain_points(logits, draws(2), 50)
    assert torch.equal(together[1:], uncertain_points(logits[1:], draws(2)[1:], 50))


def test_bce_and_dice_closed_forms():
    zeros, ones = torch.zeros(1, 8), torch.ones(1, 8)
    torch.testing.assert_close(point_bce(zeros, ones), torch.tensor([2.0]).log())
    # probability 1/2 everywhere on 8 positive points: 1 - (2 * 4 + 1) / (4 + 8 + 1)
    torch.testing.assert_close(point_dice(zeros, ones), torch.tensor([1 - 9 / 13]))
    assert float(point_dice(ones * 50, ones)) == 0


def test_weights_of_the_two_terms():
    """Red when the report's 2.0 BCE + 0.5 dice is exchanged. A constant map makes the points irrelevant."""
    losses = mask_losses(torch.zeros(2, 8, 8), torch.ones(2, 8, 8), draws(2), num_points=10)
    torch.testing.assert_close(losses["loss_mask"], 2.0 * torch.tensor(2.0).log())
    torch.testing.assert_close(losses["loss_dice"], torch.tensor(0.5 * (1 - 11 / 16)))


def test_losses_by_sample_average_to_those_of_the_batch():
    """Red when a sample's loss depends on its neighbours, or the two forms weigh the terms differently."""
    draw = torch.Generator().manual_seed(0)
    logits, masks = torch.randn(3, 16, 16, generator=draw), (torch.rand(3, 16, 16, generator=draw) > 0.5).float()
    whole = mask_losses(logits, masks, draws(3), num_points=50, bce_weight=3.0, dice_weight=0.7)
    by_sample = sample_mask_losses(logits.bfloat16(), masks, draws(3), num_points=50)
    assert {name: (one.shape, one.dtype) for name, one in by_sample.items()} == {
        name: ((3,), torch.float32) for name in ("loss_mask", "loss_dice")
    }
    by_sample = sample_mask_losses(logits, masks, draws(3), num_points=50, bce_weight=3.0, dice_weight=0.7)
    alone = sample_mask_losses(logits[2:], masks[2:], draws(3)[2:], num_points=50, bce_weight=3.0, dice_weight=0.7)
    for name, loss in whole.items():
        torch.testing.assert_close(by_sample[name].mean(), loss)
        assert torch.equal(by_sample[name][2:], alone[name])


def test_language_loss_is_a_mean_per_sample():
    """Red when all tokens of a batch are pooled: ranks with longer texts would weigh more."""
    logits = torch.randn(2, 3, 7)
    labels = torch.tensor([[1, 2, 3], [4, NO_LABEL, NO_LABEL]])
    expected = (F.cross_entropy(logits[0], labels[0]) + F.cross_entropy(logits[1, :1], labels[1, :1])) / 2
    torch.testing.assert_close(language_loss(logits, labels), expected)


def test_an_expression_without_a_target_pulls_every_pixel_down() -> None:
    """Red when an empty mask gives no number, no gradient, or draws the mask towards something."""
    logits = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    keys = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    losses = sample_mask_losses(logits, torch.zeros(2, 16, 16), keys, num_points=4000, importance=0, bce_weight=1)
    (losses["loss_mask"] + losses["loss_dice"]).sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad > 0).all()
    nothing = torch.full((1, 4), -50.0)
    assert point_bce(nothing, torch.zeros(1, 4)).item() == pytest.approx(0)
    assert point_dice(nothing, torch.zeros(1, 4)).item() == pytest.approx(0)
    probability = torch.tensor([[0.5, 0.25, 0.0, 0.0]])
    assert point_dice(probability.logit(eps=1e-7), torch.zeros(1, 4)).item() == pytest.approx(1 - 1 / 1.75, abs=1e-5)

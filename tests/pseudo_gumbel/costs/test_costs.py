"""What masks cost, against closed forms, and the controls over them."""

from __future__ import annotations

import pytest
import torch

from pseudo_gumbel.costs import AllPixelCost, AnotherMask, InPictureContrast, RankCost, SoftIouCost, UncertainPointCost
from pseudo_gumbel.costs.rank_cost import ranks
from pseudo_gumbel.step import Captions, CycleStep
from sa2va_native.errors import ConfigError
from sa2va_native.models.losses import sample_mask_losses
from sa2va_native.randomness.generators import generators
from tests.tiny import cycle_step, tiny_batch, tiny_pseudo_gumbel, tiny_side

ALL_PIXELS = dict(type=AllPixelCost)


def step_of(mask_logits: torch.Tensor, masks: torch.Tensor, readings: int = 1) -> CycleStep:
    """A step whose readings led to ``mask_logits`` [N, h, w]; ``masks`` [B, h, w] are the true ones."""
    captions = Captions([torch.arange(2)] * len(masks), [True] * len(masks))
    step = cycle_step(torch.zeros(len(masks), 2, 5), captions, readings=readings, mask_logits=mask_logits)
    side = tiny_side(len(masks))
    step.batch = step.batch._replace(caption_side=side._replace(mask=1 - masks), mask_side=side._replace(mask=masks))
    return step


def some_step(samples: int = 2, readings: int = 3) -> CycleStep:
    draw = torch.Generator().manual_seed(0)
    masks = (torch.rand(samples, 4, 4, generator=draw) > 0.5).float()
    return step_of(torch.randn(samples * readings, 4, 4, generator=draw), masks, readings)


def test_readings_of_a_sample_are_held_against_its_mask_of_picture_two() -> None:
    """Red when masks and readings are ordered differently, or picture 1's mask is taken."""
    step = some_step()
    assert step.batch.mask_side is not None
    for reading in range(6):
        assert torch.equal(step.masks[reading], step.batch.mask_side.mask[reading // 3])


def test_points_are_those_of_the_keys_and_equal_for_the_readings_of_a_sample() -> None:
    """Red when the method's points change, or readings are compared on different ones."""
    step = some_step()
    keys = [key for key in step.batch.keys for _ in range(3)]
    expected = sample_mask_losses(step.mask_logits, step.masks, generators(step.seed, keys, "points"), num_points=20)
    costs = UncertainPointCost(num_points=20)(step)
    assert all(torch.equal(costs[name], expected[name]) for name in expected)


def test_soft_iou_by_hand() -> None:
    """p = (.5, .5, 0, 0), m = (1, 0, 1, 0): overlap .5, union 2.5. Red when the union counts the overlap twice."""
    logits = torch.tensor([[0.0, 0.0], [-200.0, -200.0]])
    masks = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    (cost,) = SoftIouCost(weight=3.0)(step_of(logits[None], masks[None])).values()
    torch.testing.assert_close(cost, torch.tensor([3 * (1 - 0.5 / 2.5)]))


def test_soft_iou_tells_an_empty_mask_from_the_true_one_alone() -> None:
    """Red when an empty mask is cheaper than another object's, which word by word teaches to name what is absent."""
    true = torch.zeros(4, 4)
    true[:2] = 1
    logits = torch.stack([40 * (2 * true - 1), 40 * (1 - 2 * true), torch.full((4, 4), -40.0)])
    (cost,) = SoftIouCost()(step_of(logits, true[None], readings=3)).values()
    torch.testing.assert_close(cost, torch.tensor([0.0, 1.0, 1.0]))
    (nothing,) = SoftIouCost()(step_of(torch.full((1, 4, 4), -200.0), torch.zeros(1, 4, 4))).values()
    assert nothing.tolist() == [0]


def halves(*filled: int) -> torch.Tensor:
    """Masks [n, 4, 4], each of one row; -1 for none."""
    masks = torch.zeros(len(filled), 4, 4)
    for mask, row in zip(masks, filled, strict=True):
        if row >= 0:
            mask[row] = 1
    return masks


def contrast_of(drawn: torch.Tensor, others: torch.Tensor, temperature: float = 0.5) -> torch.Tensor:
    """Costs of readings [S, h, w] where the object is row 0 and the others are ``others`` [M, h, w]."""
    step = step_of(80 * (2 * drawn - 1), halves(0), readings=len(drawn))
    step.batch = step.batch._replace(others=others[None].bool())
    (cost,) = InPictureContrast(temperature)(step).values()
    return cost


def test_contrast_by_hand() -> None:
    """Red when the true object is no alternative, nothing is free, or scores are not divided by the temperature.

    Readings: the object itself; another; nothing; half of the object (IoU .5).
    """
    drawn = halves(0, 1, -1, 0)
    drawn[3, 0, :2] = 0
    scores = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.1], [0.5, 0, 0, 0.55]])
    expected = -(scores / 0.5).log_softmax(1)[:, 0]
    cost = contrast_of(drawn, halves(1, 2))
    torch.testing.assert_close(cost, expected)
    assert cost.argsort().tolist() == [0, 3, 1, 2], "nothing is worst"


def test_contrast_does_not_depend_on_the_batch() -> None:
    """Red when places without an object count: another picture of the batch has more of them."""
    drawn = halves(0, 1, -1)
    torch.testing.assert_close(contrast_of(drawn, halves(1, -1, -1)), contrast_of(drawn, halves(1)))
    alone = contrast_of(drawn, halves())
    torch.testing.assert_close(alone, -(torch.tensor([[1, 0], [0, 1.1], [0, 1.1]]) / 0.5).log_softmax(1)[:, 0])


def test_contrast_has_a_gradient_with_and_without_other_objects() -> None:
    """Red when a picture of one object gives a nan."""
    masks = torch.tensor([halves(1, 2).tolist(), halves(-1, -1).tolist()]).bool()
    logits = torch.zeros(2, 4, 4, requires_grad=True)
    step = step_of(logits, halves(0, 3))
    step.batch = step.batch._replace(others=masks)
    InPictureContrast()(step)["loss_contrast"].sum().backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0, 0].max() < min(0, logits.grad[0, 1].min()), "the true object's pixels cost most to lose"


def test_contrast_without_the_other_objects_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\(sample 0, ...\) come without .*with_others=True"):
        InPictureContrast()(some_step())


def test_the_control_takes_the_other_objects_along() -> None:
    """Red when the next sample's mask competes with objects of another picture."""
    step = some_step(samples=2, readings=2)
    others = torch.tensor([halves(1, 2).tolist(), halves(3, -1).tolist()]).bool()
    step.batch = step.batch._replace(others=others)
    (cost,) = AnotherMask(dict(type=InPictureContrast))(step).values()
    swapped = step_of(step.mask_logits, step.masks[::2].flip(0), readings=2)
    swapped.batch = swapped.batch._replace(others=others.flip(0))
    assert torch.equal(cost, *InPictureContrast()(swapped).values())


def test_ranks_by_hand() -> None:
    """Red when ties are broken by place, ranks go beyond 0..1, or samples are ranked together."""
    costs = torch.tensor([[5.0, 1.0, 3.0], [2.0, 9.0, 2.0], [4.0, 4.0, 4.0]])
    expected = torch.tensor([[1.0, 0.0, 0.5], [0.25, 1.0, 0.25], [0.5, 0.5, 0.5]])
    torch.testing.assert_close(ranks(costs), expected)


def test_the_rank_is_of_the_total_within_a_sample() -> None:
    """Red when one of several costs is ranked, or rows of two samples are mixed."""
    step = some_step()
    total = torch.stack(list(AllPixelCost()(step).values())).sum(0).view(2, 3)
    expected = total.argsort(1).argsort(1) / 2
    (rank,) = RankCost(dict(ALL_PIXELS))(step).values()
    torch.testing.assert_close(rank.view(2, 3), expected)


def test_a_rank_takes_no_part_in_a_gradient() -> None:
    """Red when a loss without gradient is trained on silently."""
    model = tiny_pseudo_gumbel(cost=dict(type=RankCost, cost=dict(ALL_PIXELS)))
    with pytest.raises(ConfigError, match=r"RankCost with 1 reading\(s\)"):
        model(tiny_batch(), mode="loss")


def test_a_score_function_learns_from_ranks() -> None:
    """Red when ranks are not those of a sample's readings: their mean is one half, with ties or without."""
    model = tiny_pseudo_gumbel("score_function_tiny", cost=dict(type=RankCost, cost=dict(ALL_PIXELS)))
    losses = model(tiny_batch(), mode="loss")
    losses["loss_score"].backward()
    assert float(losses["mask_cost"]) == pytest.approx(0.5)


def test_another_mask_is_the_next_samples_for_all_readings() -> None:
    """Red when a sample keeps its own mask, readings get different ones, or the step itself is changed."""
    step = some_step(samples=3, readings=2)
    own = step.masks.clone()
    costs = AnotherMask(dict(ALL_PIXELS))(step)
    expected = AllPixelCost()(step_of(step.mask_logits, own[::2][[1, 2, 0]], readings=2))
    assert all(torch.equal(costs[name], expected[name]) for name in expected)
    assert torch.equal(step.masks, own)


def test_a_single_sample_has_no_other_mask() -> None:
    """Red when a control over batches of one trains on the true masks."""
    with pytest.raises(ConfigError, match="AnotherMask with 1 sample on a rank"):
        AnotherMask(dict(ALL_PIXELS))(some_step(samples=1))


def test_the_control_differs_from_the_method_in_the_masks_alone() -> None:
    """Red when the config's control draws other points, captions or words."""
    batch = tiny_batch("cycle", 3)
    method, control = tiny_pseudo_gumbel(), tiny_pseudo_gumbel("ablations/another_mask")
    losses = control(batch, mode="loss")
    side = batch.caption_side
    rolled = batch._replace(mask_side=side._replace(mask=side.mask[[1, 2, 0]]))
    expected = method(rolled, mode="loss")
    assert all(torch.equal(losses[name], expected[name]) for name in expected)


@pytest.mark.parametrize("weight", [0.0, -1.0])
def test_a_cost_that_rewards_misses_is_refused(weight: float) -> None:
    """Red when a soft IoU of weight 0 teaches nothing, or one below 0 the opposite, without a word."""
    with pytest.raises(ConfigError, match=f"cost.weight={weight}"):
        SoftIouCost(weight)

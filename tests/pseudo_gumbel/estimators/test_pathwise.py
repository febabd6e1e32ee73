"""Words that gradient flows through: method, ablations and control differ in what they say they differ in."""

from __future__ import annotations

import pytest
import torch

from pseudo_gumbel.estimators import (
    DetachedGumbel,
    ScoreFunction,
    SoftGumbel,
    StraightThroughGumbel,
    TeacherWords,
)
from pseudo_gumbel.estimators.estimator import Estimator
from pseudo_gumbel.gumbel import Words
from pseudo_gumbel.step import Captions
from sa2va_native.errors import ConfigError
from tests.tiny import cycle_step

TEACHER = Captions([torch.tensor([3, 1, 4]), torch.tensor([1, 5])], [True, False])


def words(estimator: Estimator, logits: torch.Tensor) -> Words:
    return estimator.words(cycle_step(logits, TEACHER))


def test_all_gumbel_words_are_the_same_hard_words() -> None:
    """Red when an ablation changes the noise too."""
    logits = torch.randn(2, 3, 20)
    ids = [words(one(0.7, 8), logits).ids for one in (StraightThroughGumbel, SoftGumbel, DetachedGumbel)]
    assert torch.equal(ids[0], ids[1])
    assert torch.equal(ids[0], ids[2])


def test_hard_soft_and_detached() -> None:
    """Red when an ablation runs the method under another name."""
    logits = torch.randn(2, 3, 20, requires_grad=True)
    hard, soft, detached = (words(one(0.7, 8), logits) for one in (StraightThroughGumbel, SoftGumbel, DetachedGumbel))
    assert (hard.weights.max(-1).values == 1).all()
    assert (soft.weights.max(-1).values < 1).all()
    assert torch.equal(detached.weights, hard.weights)
    assert [one.weights.requires_grad for one in (hard, soft, detached)] == [True, True, False]


def test_the_control_says_the_teachers_words() -> None:
    """Red when self-training reads the student's words."""
    said = words(TeacherWords(), torch.randn(2, 3, 20, requires_grad=True))
    assert torch.equal(said.ids, TEACHER.padded)
    assert torch.equal(said.candidates[..., 0], TEACHER.padded)
    assert torch.equal(said.weights, torch.ones(2, 3, 1))


def test_a_silent_sample_leaves_the_divisor() -> None:
    """Red when a rank's mean is over its spoken samples only: ranks with fewer would weigh more."""
    captions = Captions([torch.tensor([3, 1]), torch.tensor([]).long()], [True, True])
    costs = {"loss_mask": torch.tensor([3.0, 5.0]), "loss_dice": torch.tensor([1.0, 7.0])}
    losses = StraightThroughGumbel().losses(cycle_step(torch.zeros(2, 2, 5), captions, costs=costs))
    assert {name: float(loss) for name, loss in losses.items()} == {"loss_mask": 1.5, "loss_dice": 0.5}


def test_several_draws_give_the_mean_gradient_of_the_single_ones() -> None:
    """Red when draws are summed, or a sample's draws are credited to another one."""
    upstream = torch.randn(6, 3, 8, dtype=torch.float64)
    silent = Captions([torch.tensor([3, 1, 4]), torch.tensor([]).long()], [True, True])
    logits = torch.randn(2, 3, 20, dtype=torch.float64, requires_grad=True)
    for captions, share in ((TEACHER, torch.tensor([1, 1])), (silent, torch.tensor([1, 0]))):
        step = cycle_step(logits, captions, readings=3)
        estimator = SoftGumbel(2.0, 8, draws=3)
        assert estimator.readings == 3
        step.words = estimator.words(step)
        step.costs = {"loss_mask": (step.words.weights * upstream).sum((1, 2))}
        (gradient,) = torch.autograd.grad(estimator.losses(step)["loss_mask"], logits)
        expected = torch.zeros_like(gradient)
        for draw in range(3):
            one = estimator.words(step).weights[draw::3]  # this draw of both samples
            loss = ((one * upstream[draw::3]).sum((1, 2)) * share).mean()
            expected += torch.autograd.grad(loss, logits)[0] / 3
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("kind", [StraightThroughGumbel, SoftGumbel, DetachedGumbel, TeacherWords, ScoreFunction])
def test_a_stop_position_never_becomes_a_word(kind: type) -> None:
    """With a regularizer that rates the stop word. Red when words are longer than captions, or change with it."""
    logits = torch.randn(2, 3 + 2, 20, requires_grad=True)
    estimator = kind() if kind is TeacherWords else kind(2) if kind is ScoreFunction else kind(0.7, 8)
    with_stop = estimator.words(cycle_step(logits, TEACHER, [8, 9]))
    without = estimator.words(cycle_step(logits[:, :3], TEACHER))
    assert with_stop.ids.shape[1] == 3
    assert all(torch.equal(*pair) for pair in zip(with_stop[:4], without[:4], strict=True))


@pytest.mark.parametrize(
    ("option", "value"),
    [("temperature", 0), ("temperature", -1.0), ("top_k", 0), ("draws", 0), ("min_p", -0.1), ("min_p", 1.5)],
)
def test_an_option_outside_its_range_is_refused_at_once(option: str, value: float) -> None:
    """Red when a dry run accepts what ends the run at its first cycle step."""
    with pytest.raises(ConfigError, match=f"estimator.{option}={value}"):
        SoftGumbel(**{option: value})  # type: ignore[arg-type]

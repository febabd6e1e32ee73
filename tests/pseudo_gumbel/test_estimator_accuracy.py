"""The estimator bench: its exact gradient, its figures, and what it looks up instead of reading twice."""

from __future__ import annotations

import math

import pytest
import torch

import pseudo_gumbel.estimators  # noqa: F401, the registry reads it at first use only
from benchmarks.estimator_position import Position
from benchmarks.estimators import BEGIN, COMPARED, END, write_between_markers
from pseudo_gumbel.costs import AllPixelCost
from pseudo_gumbel.experiment.estimator_accuracy import accuracy, exact_gradient
from pseudo_gumbel.registry import ESTIMATORS
from tests.tiny import tiny_batch, tiny_pseudo_gumbel


def test_the_enumeration_is_autograds_gradient_of_the_expected_cost() -> None:
    """Red when the mean cost is not taken off, or p is not the softmax of the logits."""
    logits = torch.randn(3, 5, dtype=torch.float64).requires_grad_()
    costs = torch.randn(3, 5, dtype=torch.float64)
    (expected,) = torch.autograd.grad((logits.softmax(-1) * costs).sum(), logits)
    torch.testing.assert_close(exact_gradient(logits.log_softmax(-1).detach(), costs), expected)


def test_words_without_a_cost_are_never_said() -> None:
    """Red when a word that was left out of the enumeration costs something, or keeps its probability."""
    log_p, costs = torch.randn(2, 4), torch.randn(2, 4)
    log_p[:, 3] = -torch.inf
    expected = exact_gradient(log_p, costs)
    costs[:, 3] = torch.nan
    torch.testing.assert_close(exact_gradient(log_p.masked_fill(log_p == -torch.inf, 5.0), costs), expected)


def drawn(scale: float, noise: float, draws: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws of ``scale`` times an exact gradient of 200 objects, with noise of that deviation."""
    generator = torch.Generator().manual_seed(0)
    exact = torch.randn(200, 4, generator=generator)
    return scale * exact + noise * torch.randn(draws, 200, 4, generator=generator), exact


@pytest.mark.parametrize("noise", [0.0, 1.0, 5.0])
def test_an_unbiased_estimator_is_not_called_biased_for_its_noise(noise: float) -> None:
    """Red when few draws of a noisy estimator read as a bias: |mean - exact| alone would be .6 at noise 5."""
    found = accuracy(*drawn(1.0, noise))
    assert not found.biased
    assert found.bias < 0.3
    assert found.cosine > 0.95
    assert abs(found.along - 1) <= 3 * found.along_error + 1e-9


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_a_known_bias_is_found_with_its_size(noise: float) -> None:
    """Red when the bias is not relative to the exact gradient, or the noise is taken off twice."""
    found = accuracy(*drawn(0.25, noise))
    assert found.biased
    assert found.bias == pytest.approx(0.75, abs=0.02)
    assert found.along == pytest.approx(0.25, abs=0.02)
    assert found.cosine == pytest.approx(1, abs=0.02)
    assert found.right_sign > 0.99


def test_pure_noise_has_no_direction() -> None:
    """Red when the cosine of a mean that is only noise is printed as if it were one."""
    found = accuracy(*drawn(0.0, 1.0))
    assert math.isnan(found.cosine)
    assert found.bias == pytest.approx(1, abs=0.05)
    assert abs(found.signal_to_noise) < 0.05


def test_signal_to_noise_by_hand() -> None:
    """Red when it is taken of the mean over draws, whose noise is less."""
    exact = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    draws = torch.tensor([[[1.0, 9.0], [3.0, -9.0]], [[3.0, 9.0], [1.0, -9.0]]])
    found = accuracy(draws, exact)
    assert found.signal_to_noise == pytest.approx(2 / (4 / 3) ** 0.5)
    assert found.right_sign == 1


def test_what_draws_share_by_stratum_is_no_noise() -> None:
    """Red when the points' part of the costs, which enumeration averages too, is taken off as the estimator's noise."""
    exact = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    points = torch.stack([0.5 * exact, 1.5 * exact])
    found = accuracy(points.repeat(4, 1, 1), exact, strata=2)
    assert not found.biased
    assert found.bias < 1e-6
    assert found.cosine == pytest.approx(1)


@pytest.fixture(scope="module")
def position() -> Position:
    return Position(tiny_pseudo_gumbel(mask_ratio=0.0).eval().requires_grad_(False), tiny_batch("cycle", 2), points=2)


@pytest.mark.parametrize("kind", ["StraightThroughGumbel", "ReinMax"])
def test_a_looked_up_word_has_the_gradient_of_a_reading(position: Position, kind: str) -> None:
    """Red when a slope is stored for another word, object, position or cost."""
    estimator = ESTIMATORS.build(dict(type=kind, top_k=64))
    found = position.gradients(estimator, 3)["pixels"]
    step, free = position.step(estimator, 3)
    step.words = estimator.words(step)
    step.mask_logits = position.model.reader(position.model, step, step.words, gradient=True).mask_logits
    step.costs = AllPixelCost()(step)
    (expected,) = torch.autograd.grad(2 * sum(estimator.losses(step).values()), free)
    assert expected.any()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-3)


def test_the_expectation_over_all_tried_words_is_the_exact_gradient(position: Position) -> None:
    """Red when words are tried elsewhere, or costs are looked up for another word."""
    estimator = ESTIMATORS.build(dict(type="ExpectedCost", candidates=60, min_p=0.0))
    found = position.gradients(estimator, 0)["pixels"]
    torch.testing.assert_close(found, position.exact("pixels"), atol=1e-4, rtol=0)


def test_only_the_position_is_free(position: Position) -> None:
    """Red when noise moves a word elsewhere, so that its cost is no longer that of the enumeration."""
    estimator = ESTIMATORS.build(dict(type="StraightThroughGumbel", top_k=64, temperature=5.0))
    elsewhere = torch.arange(position.captions.padded.shape[1]) != position.at[:, None]
    real = position.captions.padded.new_tensor([[1]]) * (
        torch.arange(elsewhere.shape[1]) < position.captions.lengths[:, None]
    )
    for draw in range(20):
        words = estimator.words(position.step(estimator, draw)[0])
        same = words.ids == position.captions.padded[:, : words.ids.shape[1]]
        assert same[elsewhere & real.bool()].all()


def test_every_estimator_is_compared() -> None:
    """Red when an estimator is added and the bench does not know it."""
    assert {options["type"] for options in COMPARED.values()} == set(ESTIMATORS.module_dict)


def test_tables_go_between_the_markers(tmp_path) -> None:
    """Red when prose around the tables is lost, or a backslash in them is taken for a group."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_between_markers(page, r"new \1")
    assert page.read_text() == f"before\n{BEGIN}\n\nnew \\1\n\n{END}\nafter\n"

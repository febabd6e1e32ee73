"""ReinMax against its formula, and against exact gradients by enumeration."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from pseudo_gumbel.estimators import ReinMax, StraightThroughGumbel
from pseudo_gumbel.estimators.pathwise_reinmax import reinmax
from pseudo_gumbel.step import Captions
from tests.tiny import cycle_step

V = 4
LOGITS = torch.tensor([1.0, 0.3, -0.5, 0.1], dtype=torch.float64)
MATRIX = torch.randn(V, V, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
VECTOR = torch.randn(V, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def quadratic(x: torch.Tensor) -> torch.Tensor:
    return ((x @ MATRIX) * x).sum(-1) + x @ VECTOR


def quartic(x: torch.Tensor) -> torch.Tensor:
    return quadratic(x) ** 2


def exact_gradient(cost: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """d/dlogits of sum_k p_k cost(k)."""
    leaf = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(leaf.softmax(-1) @ cost(torch.eye(V, dtype=torch.float64)), leaf)
    return gradient


def expected_gradient(cost: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """ReinMax's gradient in expectation over all words."""
    leaf = LOGITS.clone().requires_grad_()
    readings = cost(reinmax(leaf.expand(V, V), torch.eye(V, dtype=torch.float64)))
    (gradient,) = torch.autograd.grad(LOGITS.softmax(-1) @ readings, leaf)
    return gradient


def jacobian(p: torch.Tensor) -> torch.Tensor:
    return torch.diag(p) - torch.outer(p, p)


@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_the_gradient_is_that_of_the_paper(temperature: float) -> None:
    """2 J((softmax(l / tau) + D) / 2) u - J(softmax(l)) u / 2. Red when a factor or a temperature is misplaced."""
    upstream = torch.randn(V, dtype=torch.float64)
    for word in torch.eye(V, dtype=torch.float64):
        leaf = LOGITS.clone().requires_grad_()
        value = reinmax(leaf, word, temperature)
        assert torch.equal(value, word)
        (gradient,) = torch.autograd.grad(value @ upstream, leaf)
        middle = ((LOGITS / temperature).softmax(-1) + word) / 2
        expected = 2 * jacobian(middle) @ upstream - jacobian(LOGITS.softmax(-1)) @ upstream / 2
        torch.testing.assert_close(gradient, expected)


def test_the_expectation_is_exact_for_a_quadratic_cost_and_not_beyond() -> None:
    """The order of the method. Red for a gradient of first order; the quartic shows that the test can fail."""
    torch.testing.assert_close(expected_gradient(quadratic), exact_gradient(quadratic))
    assert (expected_gradient(quartic) - exact_gradient(quartic)).norm() > 0.1 * exact_gradient(quartic).norm()


def gradients(estimator: StraightThroughGumbel, draws: int) -> torch.Tensor:
    """[draws, V] of single draws on the quadratic cost: one caption, a draw at each of its positions."""
    logits = LOGITS.expand(1, draws, V).clone().requires_grad_()
    words = estimator.words(cycle_step(logits, Captions([torch.zeros(draws).long()], [True])))
    weights = torch.zeros(1, draws, V, dtype=torch.float64).scatter(-1, words.candidates, words.weights)
    return torch.autograd.grad(quadratic(weights).sum(), logits)[0][0]


def test_drawn_words_have_the_exact_gradient_in_the_mean_and_straight_through_does_not() -> None:
    """Of a quadratic cost. Red when words are not drawn from the student's distribution, or the temperature draws."""
    exact, draws = exact_gradient(quadratic), 40_000

    def standard_errors(estimator: StraightThroughGumbel) -> float:
        drawn = gradients(estimator, draws)
        return float(((drawn.mean(0) - exact).abs() / (drawn.std(0) / draws**0.5)).max())

    assert standard_errors(ReinMax(top_k=V)) < 4
    assert standard_errors(StraightThroughGumbel(1.0, top_k=V)) > 20


def test_several_draws_and_words_that_are_out() -> None:
    """Red when a draw's gradient goes to another sample, or a word without probability makes it nan."""
    logits = torch.randn(2, 3, 20, dtype=torch.float64).requires_grad_()
    captions = Captions([torch.tensor([3, 1, 4]), torch.tensor([1, 5])], [True, False])
    estimator = ReinMax(top_k=8, draws=3, min_p=0.2)
    words = estimator.words(cycle_step(logits, captions))
    assert estimator.readings == 3
    assert torch.equal(words.weights.sum(-1), torch.ones(6, 3, dtype=torch.float64))
    upstream = torch.randn(3, 3, 8)
    (gradient,) = torch.autograd.grad((words.weights[3:] * upstream).sum(), logits)
    p = logits.detach().softmax(-1)
    out = p < 0.2 * p.max(-1, keepdim=True).values
    assert torch.isfinite(gradient).all()
    assert not gradient[0].any()
    assert not gradient[out].any()
    assert gradient[1].any()

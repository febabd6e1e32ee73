"""What each registered estimator's gradient is in expectation: exact, or biased for a named reason."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor

import pseudo_gumbel.estimators  # noqa: F401, the registry reads it at first use only
from pseudo_gumbel.experiment.estimator_accuracy import Accuracy, accuracy, exact_gradient
from pseudo_gumbel.registry import ESTIMATORS
from pseudo_gumbel.step import Captions
from tests.tiny import cycle_step

#: Its expectation is the exact gradient (of the tried words); the test that enumerates it.
EXACT = {
    "ScoreFunction": "test_score_function.test_leave_one_out_is_unbiased",
    "SelfCritical": "test_score_function.test_the_greedy_baseline_is_unbiased",
    "ExpectedCost": "test_expected_cost.test_the_gradient_is_that_of_the_enumerated_expectation",
}
#: The reader's slope at one point stands for what other words cost; measured below.
PATHWISE = {
    "StraightThroughGumbel": "the slope is taken at a word",
    "GumbelRao": "the mean is straight-through's",
    "ReinMax": "exact only where the cost is a quadratic function of the word's weights",
    "MixedGumbel": "the slope is taken off the words",
    "SoftGumbel": "the expected cost of mixtures is not that of words",
}
OTHER_AIMS = {
    "DetachedGumbel": "no gradient, by design",
    "TeacherWords": "no gradient, by design",
    "BestOfN": "language loss on the cheapest of N captions",
    "WordTrials": "KL to the posterior p exp(-cost / beta), which is sharper than a step along the gradient",
}
LOG_P = torch.tensor([0.5, 0.3, 0.2]).log()


def test_every_estimator_is_exact_or_biased_for_a_reason() -> None:
    """Red when an estimator is added and nobody says whether its expectation is the gradient."""
    assert EXACT.keys() | PATHWISE.keys() | OTHER_AIMS.keys() == set(ESTIMATORS.module_dict)


@pytest.mark.parametrize("test", EXACT.values())
def test_exact_ones_are_enumerated(test: str) -> None:
    """Red when the test that shows it is removed or renamed."""
    module, name = test.split(".")
    assert callable(getattr(importlib.import_module(f"tests.pseudo_gumbel.estimators.{module}"), name))


def on_a_step(kind: str, steepness: float, place: float = 0.5) -> Accuracy:
    """The estimator where a word's weight lowers the cost by a step at ``place``; by 4096 draws."""
    options: dict[str, Any] = dict(type=kind, top_k=3, draws=512)
    estimator = ESTIMATORS.build(options)

    def cost(weights: Tensor) -> Tensor:
        return -(steepness * (weights[..., 0] - place)).sigmoid()

    gradients = []
    for seed in range(8):
        logits = LOG_P[None, None].clone().requires_grad_()
        step = cycle_step(logits, Captions([torch.tensor([0])], [True]), readings=512)
        step.seed = seed
        step.words = estimator.words(step)
        weights = torch.zeros(512, 1, 3).scatter_add(-1, step.words.candidates, step.words.weights)
        step.costs = {"loss_mask": cost(weights[:, 0])}
        (gradient,) = torch.autograd.grad(sum(estimator.losses(step).values()), logits)
        gradients.append(gradient[0])
    return accuracy(torch.stack(gradients), exact_gradient(LOG_P, cost(torch.eye(3)))[None])


@pytest.mark.parametrize("kind", PATHWISE)
def test_pathwise_estimators_are_biased_on_a_step(kind: str) -> None:
    """Red when one of them is exact after all, so that the reason given for its bias is wrong."""
    found = on_a_step(kind, steepness=16.0, place=0.8)
    assert found.bias > 0.1


@pytest.mark.parametrize("kind", ["StraightThroughGumbel", "GumbelRao", "ReinMax"])
def test_slopes_at_words_vanish_on_a_step(kind: str) -> None:
    """The steeper the step, the less of it is seen at its ends. Red when the slope is taken between words."""
    lengths = [on_a_step(kind, steepness).along for steepness in (4.0, 16.0, 64.0)]
    assert lengths[0] > lengths[1] > lengths[2]
    assert lengths[2] < 1e-6

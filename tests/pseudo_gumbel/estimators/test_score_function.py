"""Score-function estimators against the exact gradient, by enumeration of a small language."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch

from pseudo_gumbel.estimators import ScoreFunction, SelfCritical
from pseudo_gumbel.estimators.score_function import leave_one_out, sample_words
from pseudo_gumbel.gumbel import hard_words, log_probabilities
from pseudo_gumbel.step import Captions
from sa2va_native.errors import ConfigError
from tests.tiny import cycle_step, tiny_batch, tiny_pseudo_gumbel

T, V = 2, 3
LANGUAGE = torch.tensor(list(product(range(V), repeat=T)))  #: all captions of two words out of three
CAPTIONS = Captions([torch.zeros(T, dtype=torch.long)], [True])


def exact_and_expected(estimator: Any, rows: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of the expected cost, and the expectation of the estimator's gradient over all draws."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(1, T, V, dtype=torch.float64, generator=draw).requires_grad_()
    costs = torch.randn(len(LANGUAGE), dtype=torch.float64, generator=draw)
    log_p = log_probabilities(logits.expand(len(LANGUAGE), T, V), LANGUAGE[..., None]).squeeze(-1).sum(1)
    (exact,) = torch.autograd.grad((log_p.exp() * costs).sum(), logits, retain_graph=True)
    chance, expected = log_p.exp().detach(), torch.zeros_like(exact)
    for drawn in product(range(len(LANGUAGE)), repeat=estimator.samples):
        read = [*drawn, *rows(logits)]
        ids = LANGUAGE[read]
        words = hard_words(ids, log_probabilities(logits.expand(len(ids), T, V), ids[..., None]).squeeze(-1))
        step = cycle_step(logits, CAPTIONS, readings=len(ids), words=words, costs={"loss_mask": costs[read]})
        (gradient,) = torch.autograd.grad(estimator.losses(step)["loss_score"], logits)
        expected += chance[list(drawn)].prod() * gradient
    return exact, expected


@pytest.mark.parametrize("samples", [2, 3])
def test_leave_one_out_is_unbiased(samples: int) -> None:
    """Red when a sample is part of its own baseline, the baseline is learnt through, or words do not add up."""
    exact, expected = exact_and_expected(ScoreFunction(samples), lambda logits: [])
    torch.testing.assert_close(expected, exact)


@pytest.mark.parametrize("samples", [1, 2])
def test_the_greedy_baseline_is_unbiased(samples: int) -> None:
    """Red when the greedy caption is trained on as if it had been drawn."""

    def greedy(logits: torch.Tensor) -> list[int]:
        return [int((logits[0].argmax(-1) == LANGUAGE).all(1).nonzero())]

    exact, expected = exact_and_expected(SelfCritical(samples), greedy)
    torch.testing.assert_close(expected, exact)


@pytest.mark.parametrize("estimator", [ScoreFunction(3), SelfCritical(2)])
def test_what_all_captions_of_a_sample_cost_alike_teaches_nothing(estimator: Any) -> None:
    """Draw by draw, not only in the mean. Red when a baseline is of the batch, or leaves out a reading's share."""
    logits = torch.randn(2, T, V, dtype=torch.float64).requires_grad_()
    ids = LANGUAGE[[0, 4, 7, 3, 3, 8]]
    words = hard_words(ids, log_probabilities(logits.repeat_interleave(3, 0), ids[..., None]).squeeze(-1))
    costs = torch.randn(6, dtype=torch.float64)
    gradients = []
    for harder in (0.0, 5.0):
        raised = costs + harder * torch.tensor([1.0, 1, 1, 0, 0, 0], dtype=torch.float64)
        captions = Captions(CAPTIONS.ids * 2, [True, True])
        step = cycle_step(logits, captions, readings=3, words=words, costs={"loss_mask": raised})
        gradients += torch.autograd.grad(estimator.losses(step)["loss_score"], logits, retain_graph=True)
    assert gradients[0].any()
    torch.testing.assert_close(*gradients)


def test_leave_one_out_by_hand() -> None:
    torch.testing.assert_close(leave_one_out(torch.tensor([[1.0, 2.0, 6.0]])), torch.tensor([[-3.0, -1.5, 4.5]]))


def test_words_follow_the_students_distribution() -> None:
    """Red when a temperature or a top k changes what is drawn, so that the log-probabilities are another's."""
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -torch.inf])
    ids = sample_words(logits.expand(1, 2, 5), 10_000, [torch.Generator().manual_seed(0)])
    for position in ids[0]:
        share = torch.bincount(position, minlength=5) / 10_000
        torch.testing.assert_close(share, logits.softmax(-1), atol=0.02, rtol=0)


def test_a_sample_draws_the_same_alone_and_in_a_batch() -> None:
    """Red when one generator serves the whole batch, or padding changes a draw."""
    generators = [torch.Generator().manual_seed(i) for i in range(2)]
    logits = torch.randn(2, 4, 20)
    together = sample_words(logits, 3, generators)
    assert torch.equal(together[1:, :3], sample_words(logits[1:, :3], 3, [torch.Generator().manual_seed(1)]))


@pytest.mark.parametrize("estimator", [ScoreFunction(3), SelfCritical(2)])
def test_rows_are_sample_by_sample(estimator: Any) -> None:
    """Red when the readings of two samples are mixed, or a word is paired with another's probability."""
    logits = torch.randn(2, 4, 20)
    captions = Captions([torch.arange(4), torch.arange(2)], [True, True])
    words = estimator.words(cycle_step(logits, captions))
    ids = estimator.draw(cycle_step(logits, captions))
    assert words.ids.shape == (6, 4)
    for sample, reading in product(range(2), range(3)):
        row = words.ids[3 * sample + reading]
        assert torch.equal(row, ids[sample, :, reading])
        expected = logits[sample].log_softmax(-1).gather(-1, row[:, None])[:, 0]
        torch.testing.assert_close(words.log_probs[3 * sample + reading], expected)


def test_padding_and_silence_weigh_nothing() -> None:
    """Red when words past the end are trained on, or an empty caption is."""
    logits = torch.randn(2, 3, 5).requires_grad_()
    captions = Captions([torch.arange(2), torch.tensor([]).long()], [True, True])
    ids = torch.tensor([[0, 1, 2], [3, 4, 0]] * 2)
    words = hard_words(ids, log_probabilities(logits.repeat_interleave(2, 0), ids[..., None]).squeeze(-1))
    costs = {"loss_mask": torch.tensor([1.0, 2.0, 5.0, 9.0])}
    step = cycle_step(logits, captions, readings=2, words=words, costs=costs)
    (gradient,) = torch.autograd.grad(ScoreFunction(2).losses(step)["loss_score"], logits)
    assert (gradient[0, :2] != 0).any(-1).all()
    assert not gradient[0, 2:].any()
    assert not gradient[1].any()


@pytest.mark.parametrize("kind", ["ScoreFunction", "SelfCritical"])
def test_a_step_of_the_tiny_model(kind: str) -> None:
    """Gradient reaches the captioner and no part of the mask side. Red when the reading is differentiated."""
    model = tiny_pseudo_gumbel("score_function_tiny", estimator=dict(type=kind, samples=3))
    losses = model(tiny_batch("cycle", 2), mode="loss")
    assert losses.keys() == {"loss_score", "mask_cost", "silent_captions"}
    losses["loss_score"].backward()
    trained = {name for name, params in model.gradient_groups().items() if any(p.grad is not None for p in params)}
    assert trained == {"lora", "projector", "embeddings"}


def test_a_batch_that_says_nothing_runs_the_same_forwards() -> None:
    """Red when a rank whose captions are all empty fails or leaves a reading out: the others would wait."""
    model = tiny_pseudo_gumbel("score_function_tiny")
    model.teacher_captions = lambda *_: Captions([torch.zeros(0, dtype=torch.long)] * 2, [True, True])
    model.record_next_step = True
    losses = model(tiny_batch("cycle", 2), mode="loss")
    assert model.last_step.mask_logits.shape[0] == 8
    assert float(losses["loss_score"].detach()) == 0
    losses["loss_score"].backward()


@pytest.mark.parametrize("estimator", [ScoreFunction, SelfCritical])
def test_too_few_samples_are_refused(estimator: Any) -> None:
    with pytest.raises(ConfigError, match=rf"samples={estimator.fewest_samples - 1}: {estimator.__name__} needs"):
        estimator(samples=estimator.fewest_samples - 1)

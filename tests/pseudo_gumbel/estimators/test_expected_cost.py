"""The exact expectation over tried words, against enumeration of whole captions and on the tiny model."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch

from pseudo_gumbel.estimators import ExpectedCost
from pseudo_gumbel.step import Captions
from pseudo_gumbel.trial import Trial, WholeWords
from tests.tiny import cycle_step, tiny_batch, tiny_pseudo_gumbel

V = 5


def test_the_gradient_is_that_of_the_enumerated_expectation() -> None:
    """With all words as candidates: E over all captions of one free word, of a cost that is any function of them.

    Red when a cost is credited to another word or position, the expectation is not the student's, or costs are summed
    where they are averaged.
    """
    draw = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 1, 2, V, generator=draw, dtype=torch.float64)
    table = torch.rand(V, V, generator=draw)
    said = [1, 3]
    for position in range(2):
        logits = student.clone().requires_grad_()
        order = torch.randperm(V, generator=draw)
        texts = [[*said[:position], int(word), *said[position + 1 :]] for word in order]
        costs = torch.stack([table[tuple(text)] for text in texts])
        captions = Captions([torch.tensor(said)], [False])
        step = cycle_step(logits, captions, [], V, teacher_logits=teacher, costs={"loss_mask": costs})
        at, counts = torch.tensor([[position]]), torch.tensor([[True]])
        step.trial = Trial(at, counts, at + 1, WholeWords.of_one_token(order[None, None]))
        loss = ExpectedCost(V, min_p=0.0).losses(step)["loss_expected"]

        q = logits.softmax(-1)[0]
        expected = torch.zeros((), dtype=torch.float64)
        for text in product(range(V), repeat=2):
            if text[1 - position] == said[1 - position]:
                expected = expected + q[position, text[position]] * table[text]
        torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
        given, wanted = (torch.autograd.grad(one, logits, retain_graph=True)[0] for one in (loss, expected))
        torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-6)


def test_language_is_held_where_nothing_was_tried() -> None:
    """Stop words too. Red when the KL to the teacher is missing, or pulls at the tried position as well."""
    logits, teacher = torch.randn(2, 1, 4, V, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    captions = Captions([torch.tensor([0, 1])], [True])
    step = cycle_step(logits, captions, [3, 4], 2, teacher_logits=teacher, costs={"loss_mask": torch.rand(2)})
    estimator = ExpectedCost(2)
    (gradient,) = torch.autograd.grad(estimator.losses(step)["loss_prior"], logits)
    held = gradient.abs().sum(-1)[0] > 0
    assert held.tolist() == [t != int(step.trial.positions) for t in range(4)]
    p, q = teacher.softmax(-1), logits.softmax(-1)
    torch.testing.assert_close(gradient[0, 3], (q - p)[0, 3] / 3)


def test_a_silent_sample_is_finite_and_weighs_nothing() -> None:
    """Red when a mean over no words is NaN."""
    logits, teacher = torch.randn(2, 2, 2, V, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    captions = Captions([torch.tensor([0, 1]), torch.tensor([]).long()], [False, False])
    step = cycle_step(logits, captions, [], 6, teacher_logits=teacher, costs={"loss_mask": torch.rand(12)})
    losses = ExpectedCost(3, positions=2).losses(step)
    (gradient,) = torch.autograd.grad(losses["loss_expected"] + losses["loss_prior"], logits)
    assert gradient[0].any()
    assert torch.equal(gradient[1], torch.zeros_like(gradient[1]))


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_pseudo_gumbel("word_trials_tiny", estimator=dict(type=ExpectedCost, positions=2, candidates=3))


def test_a_step_teaches_the_captioner_alone(model: Any) -> None:
    """Red when the class does not fit into the step."""
    model.record_next_step = True
    losses = model(tiny_batch("cycle", 2), mode="loss")
    assert losses.keys() == {"loss_expected", "loss_prior", "mask_cost", "silent_captions"}
    assert model.last_step.mask_logits.shape == (12, 32, 32)
    (losses["loss_expected"] + losses["loss_prior"]).backward()
    trained = {name for name, params in model.gradient_groups().items() if any(p.grad is not None for p in params)}
    assert trained == {"lora", "projector", "embeddings"}

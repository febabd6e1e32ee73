"""Best-of-N: which caption is learnt, against enumeration of all draws."""

from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F

from pseudo_gumbel.estimators import BestOfN
from pseudo_gumbel.estimators.score_function import sample_words
from pseudo_gumbel.gumbel import hard_words, log_probabilities
from pseudo_gumbel.step import Captions
from sa2va_native.errors import ConfigError
from tests.tiny import cycle_step, tiny_batch, tiny_pseudo_gumbel

STOP = [3, 4]


def test_the_expected_loss_is_that_of_the_best_words_distribution() -> None:
    """One position, four words. Red when a dearer word is learnt, or the teacher's word gives way to an equal one.

    The best of the teacher's word and N - 1 draws costs at least c with the probability that all draws do.
    """
    logits = torch.tensor([[[0.3, -0.2, 1.0, 0.4]]], dtype=torch.float64).requires_grad_()
    costs, teacher, samples = torch.tensor([0.5, 0.1, 0.7, 0.7], dtype=torch.float64), 3, 3
    captions, estimator = Captions([torch.tensor([teacher])], [False]), BestOfN(samples)
    p = logits[0, 0].softmax(-1).detach()
    expected = torch.zeros_like(logits)
    for drawn in product(range(4), repeat=samples - 1):
        ids = torch.tensor([teacher, *drawn])[:, None]
        words = hard_words(ids, log_probabilities(logits.expand(samples, 1, 4), ids[..., None]).squeeze(-1))
        step = cycle_step(logits, captions, STOP, samples, words=words, costs={"loss_mask": costs[ids[:, 0]]})
        (gradient,) = torch.autograd.grad(estimator.losses(step)["loss_best"], logits)
        expected += p[list(drawn)].prod() * gradient
    reaches = {1: 1 - (1 - p[1]) ** 2}
    reaches[0] = 1 - (1 - p[0] - p[1]) ** 2 - reaches[1]
    target = torch.stack([reaches[0], reaches[1], torch.zeros((), dtype=torch.float64), 1 - reaches[0] - reaches[1]])
    torch.testing.assert_close(expected[0, 0], p - target, rtol=1e-6, atol=1e-7)


def test_the_best_caption_is_learnt_with_its_stop_word() -> None:
    """Red when rows of two samples are mixed, padding is learnt, or a caption cut off by the limit is taught to end."""
    captions = Captions([torch.tensor([5, 6]), torch.tensor([7]), torch.tensor([]).long()], [True, False, True])
    logits = torch.randn(3, 4, 9)
    ids = torch.tensor([[5, 6], [1, 2], [7, 0], [8, 8], [0, 0], [1, 1]])
    costs = {"loss_mask": torch.tensor([0.9, 0.1, 0.2, 0.3, 0.9, 0.1]), "loss_dice": torch.zeros(6)}
    step = cycle_step(logits, captions, STOP, 2, words=hard_words(ids, torch.zeros(6, 2)), costs=costs)
    losses = BestOfN(2).losses(step)
    spoken = F.cross_entropy(logits[0], torch.tensor([1, 2, *STOP])), F.cross_entropy(logits[1, :1], torch.tensor([7]))
    torch.testing.assert_close(losses["loss_best"], sum(spoken) / 3)
    assert float(losses["best_cost"]) == pytest.approx(0.3 / 3)
    assert float(losses["mask_cost"]) == pytest.approx((0.5 + 0.25) / 3)
    assert float(losses["teacher_best"]) == pytest.approx(1 / 3)


def test_rows_are_the_teachers_caption_and_draws_without_stop_words() -> None:
    """Red when a position of the stop word is read as a word, or draws are not the score function's."""
    captions = Captions([torch.tensor([5, 6, 7]), torch.tensor([8])], [True, True])
    step = cycle_step(torch.randn(2, 5, 9), captions, STOP, 3)
    words = BestOfN(3).words(step)
    drawn = sample_words(step.logits[:, :3], 2, step.generators("sample"))
    rows = words.ids.view(2, 3, 3)
    assert torch.equal(rows[:, 0], captions.padded)
    assert torch.equal(rows[:, 1:], drawn.transpose(1, 2))
    expected = step.logits[1].log_softmax(-1)[:3].gather(-1, rows[1, 2][:, None])[:, 0]
    torch.testing.assert_close(words.log_probs[5], expected)


@pytest.mark.parametrize("silent", [False, True])
def test_a_step_of_the_tiny_model(silent: bool) -> None:
    """Red when the reading is differentiated, or a rank whose captions are all empty reads another number of times."""
    model = tiny_pseudo_gumbel("best_of_n_tiny")
    model.record_next_step = True
    if silent:
        model.teacher_captions = lambda *_: Captions([torch.zeros(0, dtype=torch.long)] * 2, [True, True])
    losses = model(tiny_batch("cycle", 2), mode="loss")
    losses["loss_best"].backward()
    assert model.last_step.mask_logits.shape[0] == 8
    assert losses.keys() == {"loss_best", "mask_cost", "best_cost", "teacher_best", "silent_captions"}
    assert (float(losses["loss_best"].detach()) == 0) == silent
    trained = {name for name, params in model.gradient_groups().items() if any(p.grad is not None for p in params)}
    assert trained == {"lora", "projector", "embeddings"}


def test_one_caption_is_no_choice() -> None:
    with pytest.raises(ConfigError, match="samples=1: the best is one of 2"):
        BestOfN(1)

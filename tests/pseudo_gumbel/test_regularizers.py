"""Optional losses on the student's words, against closed forms."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from pseudo_gumbel.regularizers import CaptionAnchor, CaptionEntropy
from pseudo_gumbel.step import Captions
from tests.tiny import cycle_step, tiny_batch, tiny_pseudo_gumbel


def test_anchor_asks_for_the_teachers_word_at_corrupted_places_only():
    """Red when uncorrupted tokens count: repeating them is not a task."""
    logits = torch.randn(2, 3, 5)
    captions = [torch.tensor([0, 1, 2]), torch.tensor([3])]
    corrupted = [torch.tensor([0, 4, 2]), torch.tensor([3])]
    expected = 0.3 * F.cross_entropy(logits[0, 1:2], torch.tensor([1])) / 2
    step = cycle_step(logits, Captions(captions, [True, True]), corrupted=corrupted)
    torch.testing.assert_close(CaptionAnchor(0.3)(step), expected)


def test_entropy_of_uniform_words_is_the_log_of_the_vocabulary():
    """Red when padding counts: the second caption has one real token."""
    logits = torch.zeros(2, 3, 5)
    logits[1, 1:] = torch.tensor([100.0, 0, 0, 0, 0])
    captions = [torch.tensor([0, 1, 2]), torch.tensor([3])]
    step = cycle_step(logits, Captions(captions, [True, True]))
    torch.testing.assert_close(CaptionEntropy(0.1)(step), -0.1 * torch.tensor(5.0).log())


def test_stop_positions_of_the_logits_do_not_count():
    """With an estimator that rates the stop word. Red when the labels do not fit, or its entropy is added."""
    captions, corrupted = [torch.tensor([0, 1]), torch.tensor([3])], [torch.tensor([0, 4]), torch.tensor([2])]
    logits = torch.randn(2, 2 + 2, 5)
    with_stop = cycle_step(logits, Captions(captions, [True, True]), [3, 4], corrupted=corrupted)
    without = cycle_step(logits[:, :2], Captions(captions, [True, True]), corrupted=corrupted)
    for term in (CaptionAnchor(0.3), CaptionEntropy(0.1)):
        torch.testing.assert_close(term(with_stop), term(without))


def test_regularizers_are_added_by_config_and_reach_the_captioner():
    terms = [dict(type=CaptionAnchor, weight=0.3), dict(type=CaptionEntropy, weight=0.1)]
    model = tiny_pseudo_gumbel(regularizers=terms)
    losses = model(tiny_batch(), mode="loss")
    (losses["loss_anchor"] + losses["loss_entropy"]).backward()
    assert all(p.grad is not None for p in model.gradient_groups()["projector"])
    assert "loss_anchor" not in tiny_pseudo_gumbel()(tiny_batch(), mode="loss")

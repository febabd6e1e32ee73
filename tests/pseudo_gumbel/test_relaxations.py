"""How logits become words: the method, its ablations and its control differ in what they say they differ in."""

from __future__ import annotations

import torch

from pseudo_gumbel.relaxations import DetachedGumbel, SoftGumbel, StraightThroughGumbel, TeacherWords

TEACHER = torch.tensor([[3, 1, 4], [1, 5, 0]])


def words(relaxation, logits: torch.Tensor):
    return relaxation(logits, TEACHER, [torch.Generator().manual_seed(i) for i in range(2)])


def test_all_gumbel_words_are_the_same_hard_words():
    """Red when an ablation changes the noise too."""
    logits = torch.randn(2, 3, 20)
    ids = [words(one(0.7, 8), logits).ids for one in (StraightThroughGumbel, SoftGumbel, DetachedGumbel)]
    assert torch.equal(ids[0], ids[1])
    assert torch.equal(ids[0], ids[2])


def test_hard_soft_and_detached():
    """Red when an ablation runs the method under another name."""
    logits = torch.randn(2, 3, 20, requires_grad=True)
    hard, soft, detached = (words(one(0.7, 8), logits) for one in (StraightThroughGumbel, SoftGumbel, DetachedGumbel))
    assert (hard.weights.max(-1).values == 1).all()
    assert (soft.weights.max(-1).values < 1).all()
    assert torch.equal(detached.weights, hard.weights)
    assert [one.weights.requires_grad for one in (hard, soft, detached)] == [True, True, False]


def test_the_control_says_the_teachers_words():
    """Red when self-training reads the student's words."""
    said = words(TeacherWords(), torch.randn(2, 3, 20, requires_grad=True))
    assert torch.equal(said.ids, TEACHER)
    assert torch.equal(said.candidates[..., 0], TEACHER)
    assert torch.equal(said.weights, torch.ones(2, 3, 1))

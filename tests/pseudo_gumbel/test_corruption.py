"""Corruption touches the stated share of real tokens, with keyed draws."""

from __future__ import annotations

import torch

from pseudo_gumbel.corruption import corrupt


def draws(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(count)]


def test_share_of_replaced_tokens():
    """Red when the ratio is read as the share kept. A random token equals the old one once in V draws."""
    captions = [torch.full((40_000,), 3)]
    corrupted = corrupt(captions, 0.25, torch.arange(1000), draws(1))[0]
    assert abs(float((corrupted != 3).float().mean()) - 0.25 * 0.999) < 0.01
    assert corrupted.min() >= 0
    assert corrupted.max() < 1000


def test_zero_changes_nothing_and_one_changes_all():
    captions = [torch.arange(5), torch.arange(0)]
    assert [c.tolist() for c in corrupt(captions, 0.0, torch.arange(10), draws(2))] == [[0, 1, 2, 3, 4], []]
    words = torch.tensor([4, 8])
    replaced = corrupt([torch.full((50,), 3)], 1.0, words, draws(1))[0]
    assert set(replaced.tolist()) == {4, 8}  # and never a special token


def test_a_sample_is_corrupted_the_same_alone_and_in_a_batch():
    captions = [torch.arange(9), torch.arange(9) + 20]
    together = corrupt(captions, 0.5, torch.arange(100), draws(2))
    assert torch.equal(together[1], corrupt(captions[1:], 0.5, torch.arange(100), draws(2)[1:])[0])
    assert not torch.equal(together[0], together[1] - 20)

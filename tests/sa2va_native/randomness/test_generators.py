"""Keyed draws: each part of the key matters, and nothing else does."""

from __future__ import annotations

import torch

from sa2va_native.randomness.generators import choose, generator, generators
from sa2va_native.structures import DrawKey


def first(seed: int, step: int, sample: int, purpose: str) -> float:
    return float(torch.rand((), generator=generator(seed, DrawKey(step, sample), purpose)))


def test_seed_step_sample_and_purpose_each_give_other_numbers():
    """Red when two samples of a batch share their noise, or corruption and Gumbel noise are the same numbers."""
    keys = [(seed, step, sample, purpose) for seed in (0, 1) for step in (0, 1, 12) for sample in (0, 1, 2)
            for purpose in ("corrupt", "gumbel")]  # fmt: skip
    assert len({first(*key) for key in keys}) == len(keys)
    assert first(0, 1, 12, "points") != first(0, 11, 2, "points")


def test_the_global_random_state_has_no_say():
    """Red when draws depend on what a rank or a worker has drawn before, or differ between runs of Python."""
    torch.manual_seed(0)
    before = first(3, 5, 7, "points")
    torch.rand(10)
    assert first(3, 5, 7, "points") == before == 0.04155784845352173


def test_a_batch_has_one_generator_a_sample():
    keys = [DrawKey(4, sample) for sample in range(3)]
    numbers = [float(torch.rand((), generator=draw)) for draw in generators(1, keys, "gumbel")]
    assert numbers == [first(1, 4, sample, "gumbel") for sample in range(3)]


def test_choices_are_uniform():
    draw = torch.Generator().manual_seed(0)
    chosen = [choose("abc", draw) for _ in range(3000)]
    assert all(abs(chosen.count(letter) - 1000) < 100 for letter in "abc")

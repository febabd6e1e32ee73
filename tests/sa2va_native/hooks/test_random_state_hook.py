"""Random states round trip; see also tests/sa2va_native/engine/test_resume.py for whole runs."""

from __future__ import annotations

import logging
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sa2va_native.hooks.random_state_hook import RandomStateHook
from sa2va_native.randomness.states import get_random_state, set_random_state


def draws() -> tuple[float, float, float, float]:
    return random.random(), random.gauss(0, 1), float(np.random.normal()), float(torch.rand(()))


def test_all_generators_are_restored() -> None:
    """Red when one of Python, NumPy (with its cached Gaussian) or torch is forgotten."""
    random.gauss(0, 1), np.random.normal()
    state = get_random_state()
    expected = draws()
    draws()
    set_random_state(state)
    assert draws() == expected


def test_other_number_of_ranks_warns_and_reseeds(caplog: pytest.LogCaptureFixture) -> None:
    """Red when rank 0's state is silently given to all ranks, or the index runs out."""
    hook = RandomStateHook()
    runner = SimpleNamespace(iter=5, seed=1, logger=logging.getLogger("test"))
    results = []
    for _ in range(2):
        hook.after_load_checkpoint(runner, {"random_states": [get_random_state()] * 3})
        hook.before_train_epoch(runner)
        results.append(draws())
    assert results[0] == results[1]
    assert "random states of 3 ranks and this run has 1" in caplog.text

"""The teacher's decay schedule."""

from __future__ import annotations

import pytest

from pseudo_gumbel.schedules import ema_decay


def test_without_warmup_the_decay_is_constant() -> None:
    assert [ema_decay(step, 0.999) for step in (0, 1, 1000)] == [0.999] * 3


def test_warmup_rises_from_near_zero_to_the_decay() -> None:
    """Red for a warm-up that keeps the initial teacher, the opposite of its purpose."""
    values = [ema_decay(step, 0.99, 9) for step in range(2000)]
    assert values[0] == pytest.approx(1 / 10)
    assert values[9] == pytest.approx(10 / 19)
    assert values == sorted(values)
    assert values[-1] == 0.99

"""The teacher's decay schedule."""

from __future__ import annotations

import pytest

from pseudo_gumbel.schedules import annealed, ema_decay


def test_without_warmup_the_decay_is_constant() -> None:
    assert [ema_decay(step, 0.999) for step in (0, 1, 1000)] == [0.999] * 3


def test_warmup_rises_from_near_zero_to_the_decay() -> None:
    """Red for a warm-up that keeps the initial teacher, the opposite of its purpose."""
    values = [ema_decay(step, 0.99, 9) for step in range(2000)]
    assert values[0] == pytest.approx(1 / 10)
    assert values[9] == pytest.approx(10 / 19)
    assert values == sorted(values)
    assert values[-1] == 0.99


@pytest.mark.parametrize(("curve", "middle"), [("geometric", 1.0), ("linear", 1.25)])
def test_a_run_begins_and_ends_with_the_given_values(curve: str, middle: float) -> None:
    """Red when the last step does not reach the end, or the mean is of the other kind."""
    values = [annealed(step, 5, 2.0, 0.5, curve) for step in range(5)]
    assert values[0] == 2.0
    assert values[2] == pytest.approx(middle)
    assert values[4] == pytest.approx(0.5)


def test_a_run_of_one_step_has_the_first_value() -> None:
    """Red when the length of the run divides by zero."""
    assert annealed(0, 1, 2.0, 0.5) == 2.0

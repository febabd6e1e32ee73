"""Schedules as pure functions of the optimizer step."""

from __future__ import annotations


def ema_decay(step: int, decay: float = 0.999, warmup: int = 0) -> float:
    """The teacher's decay at an optimizer step: ``min(decay, (1 + step) / (warmup + 1 + step))``.

    A decay of 0.999 keeps 99.9 % of the teacher at each step (MMEngine's ``momentum`` is the opposite). With
    a warm-up the teacher follows the student closely at first, so that it does not keep the initial weights
    for the first 1 / (1 - decay) steps. Source: the ``num_updates`` rule of TensorFlow's ``ExponentialMovingAverage``,
    with the offset as an option.

    Args:
        step: optimizer steps taken before this one, 0, 1, 2, ...
        decay: final decay, in [0, 1].
        warmup: offset in optimizer steps; 0 means ``decay`` from the start.

    Returns:
        the share of the teacher that is kept, in [0, 1].
    """
    return min(decay, (1 + step) / (warmup + 1 + step))


CURVES = ("geometric", "linear")


def annealed(step: int, steps: int, begin: float, end: float, curve: str = "geometric") -> float:
    """A value that goes from ``begin`` at the first optimizer step of a run to ``end`` at its last one.

    Args:
        step: optimizer steps taken before this one, 0..steps - 1.
        steps: optimizer steps of the whole run, >= 1.
        begin: > 0.
        end: > 0.
        curve: one of :data:`CURVES`: equal ratios or equal differences from step to step.
    """
    progress = min(step / max(steps - 1, 1), 1.0)
    if curve == "linear":
        return begin + progress * (end - begin)
    return begin * (end / begin) ** progress

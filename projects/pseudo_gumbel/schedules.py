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

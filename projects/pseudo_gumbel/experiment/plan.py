"""Which runs an invocation does, in which order, and how long they will take."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from pseudo_gumbel.experiment.arms import BASES, Arm
from pseudo_gumbel.experiment.runs import Run
from sa2va_native.errors import ConfigError, did_you_mean


def plan(
    arms: Sequence[Arm], bases: Sequence[str], seeds: Sequence[int], splits: Sequence[str], folder: Path
) -> list[Run]:
    """Every run, in the order in which it is done: one seed of all arms before the next seed.

    The base, which is evaluated alone, has the first seed only.

    Raises:
        ConfigError: an unknown base.
    """
    for base in bases:
        if base not in BASES:
            raise ConfigError(f"--bases {base}: no such base. {did_you_mean(base, BASES)}")
    return [
        Run(arm, base, seed, tuple(splits), folder)
        for seed in seeds
        for arm in arms
        for base in bases
        if base in arm.bases and (arm.steps or seed == seeds[0])
    ]


def numbers(text: str) -> list[int]:
    """``"0-2,7"`` -> [0, 1, 2, 7].

    Raises:
        ConfigError: anything else than numbers and ranges.
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            found += range(int(first), int(last if dash else first) + 1)
        except ValueError:
            raise ConfigError(f"--seeds {text}: expected numbers and ranges, e.g. 0-4 or 0,2,7") from None
    return list(dict.fromkeys(found))


def seconds_left(todo: Iterable[Run], measured: Iterable[tuple[Run, float]], jobs: int) -> float | None:
    """How long the runs will take, from runs of the same arm, or else from all by their steps; None before any.

    Args:
        measured: finished runs and their seconds.
        jobs: runs at a time.
    """
    by_arm: dict[str, list[float]] = {}
    known = list(measured)
    for run, seconds in known:
        by_arm.setdefault(run.arm.name, []).append(seconds)
    if not known:
        return None
    steps = sum(run.arm.steps for run, _ in known)
    per_step = sum(seconds for _, seconds in known) / steps if steps else 1.0
    total = 0.0
    for run in todo:
        same = by_arm.get(run.arm.name)
        total += statistics.fmean(same) if same else max(run.arm.steps, 1) * per_step
    return total / jobs

"""What a run would write into a checkpoint now, as far as it is trained: weights, moments and hooks' copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from sa2va_native.engine.checkpoints.resharding import own_parts
from sa2va_native.engine.run.optimizer_steps import deepspeed_engine, optimizer_steps
from sa2va_native.errors import TrainingError
from sa2va_native.parallel.agreement import on_any_rank
from sa2va_native.parallel.parameters import is_finite, trainable_parameters
from sa2va_native.parallel.unwrap import unwrap_model


def require_finite_state(runner: Any) -> None:
    """Checks that what was trained is finite, on all ranks. A collective.

    Hooks that keep weights have them from a method ``kept_tensors()``, which gives names and tensors.

    Raises:
        TrainingError: a value is NaN or infinite, on whichever rank.
    """

    def check() -> None:
        for name, tensor in _trained(runner):
            if not is_finite(tensor):
                raise TrainingError(
                    f"after optimizer step {optimizer_steps(runner)} {name} is not finite: no checkpoint is written, "
                    "and those before it are untouched. Lower the learning rate, and go on with --resume."
                )

    on_any_rank(check)


def _trained(runner: Any) -> Iterator[tuple[str, Tensor]]:
    engine = deepspeed_engine(runner)
    if engine is not None and engine.zero_optimization():
        yield from own_parts(engine)
    else:
        states = runner.optim_wrapper.optimizer.state
        for name, param in trainable_parameters(unwrap_model(runner.model)).items():
            yield name, param
            yield from ((f"{name} ({key})", value) for key, value in states.get(param, {}).items())
    for hook in runner.hooks:
        if hasattr(hook, "kept_tensors"):
            yield from hook.kept_tensors()

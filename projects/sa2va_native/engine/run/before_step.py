"""Counting in optimizer steps, and acting between backward and the optimizer step.

MMEngine counts iterations, one per micro-batch. With gradient accumulation an optimizer step happens only every
``accumulation_steps`` iterations, inside MMEngine's ``OptimWrapper`` or inside the DeepSpeed engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def deepspeed_engine(runner: Any) -> Any | None:
    """The DeepSpeed engine of a run, or None when it runs without DeepSpeed."""
    model = runner.model
    return model.model if type(model).__name__ == "MMDeepSpeedEngineWrapper" else None


def accumulation_steps(runner: Any) -> int:
    """Micro-batches per optimizer step; works before and after the optimizer wrapper is built."""
    strategy = getattr(runner, "strategy", None)
    config = getattr(strategy, "config", None)  # only DeepSpeed's strategy has one
    if isinstance(config, dict) and "gradient_accumulation_steps" in config:
        return int(config["gradient_accumulation_steps"])
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, dict):
        return int(wrapper.get("accumulative_counts", 1))
    return int(getattr(wrapper, "_accumulative_counts", 1))


def optimizer_steps(runner: Any) -> int:
    """Optimizer steps taken so far in the whole run, resumed part included. A skipped step counts."""
    engine = deepspeed_engine(runner)
    if engine is not None:
        return int(engine.global_steps)
    # Rounded up: MMEngine steps once more at the very end when the last window is shorter.
    done, counts = runner.optim_wrapper.inner_count, accumulation_steps(runner)
    last = done == getattr(runner.optim_wrapper, "_max_counts", -1)
    return -(-done // counts) if last else done // counts


def upcoming_step(runner: Any) -> int:
    """Inside :func:`before_optimizer_step`: the number of the step about to be taken, from 1."""
    # MMEngine counts a micro-batch at its backward, DeepSpeed after its step.
    return optimizer_steps(runner) + (deepspeed_engine(runner) is not None)


def just_stepped(runner: Any) -> bool:
    """In ``after_train_iter``: whether this iteration ended with an optimizer step."""
    engine = deepspeed_engine(runner)
    if engine is not None:
        return engine.micro_steps % engine.gradient_accumulation_steps() == 0
    return bool(runner.optim_wrapper.should_update())


def before_optimizer_step(runner: Any, fn: Callable[[Any], Any]) -> None:
    """Calls ``fn(runner)`` after backward and before the optimizer step, once per optimizer step.

    Gradients are then complete: accumulated, averaged over ranks, not yet clipped. Call it once, in ``before_train``.
    Functions run in reverse order of registration. All ranks call ``fn`` at the same steps, so it may use collectives.

    Args:
        runner: MMEngine Runner or FlexibleRunner, with its optimizer wrapper built.
        fn: what to call; returning False (not None) drops the gradients and leaves weights and optimizer as they are.
    """
    wrapper, engine = runner.optim_wrapper, deepspeed_engine(runner)
    original = wrapper.step

    def step(**kwargs: Any) -> None:
        if engine is not None and not engine.is_gradient_accumulation_boundary():
            return original(**kwargs)  # the engine only counts the micro-batch
        if fn(runner) is not False:
            return original(**kwargs)
        if (
            engine is not None
        ):  # the engine must step to count and to free the gradients; overflow makes it skip the rest
            with _forced_overflow(engine.optimizer):
                return original(**kwargs)
        return None

    wrapper.step = step


@contextmanager
def _forced_overflow(optimizer: Any) -> Iterator[None]:
    """Makes ZeRO-1, 2 and 3 take the way they have for overflowed gradients: free them, keep everything else."""
    check = getattr(optimizer, "check_grad_overflow", None)
    optimizer.check_grad_overflow, optimizer.overflow = False, True
    try:
        yield
    finally:
        optimizer.check_grad_overflow, optimizer.overflow = check, False

"""Counts optimizer steps, and calls hooks before each of them.

MMEngine counts iterations, one per micro-batch. With gradient accumulation an optimizer step happens only every
``accumulation_steps`` iterations, inside MMEngine's ``OptimWrapper`` or inside the DeepSpeed engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


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
    """In ``before_optimizer_step`` of a hook: the number of the step about to be taken, from 1."""
    # MMEngine counts a micro-batch at its backward, DeepSpeed after its step.
    return optimizer_steps(runner) + (deepspeed_engine(runner) is not None)


def just_stepped(runner: Any) -> bool:
    """In ``after_train_iter``: whether this iteration ended with an optimizer step."""
    engine = deepspeed_engine(runner)
    if engine is not None:
        return engine.micro_steps % engine.gradient_accumulation_steps() == 0
    return bool(runner.optim_wrapper.should_update())


def just_updated(runner: Any) -> bool:
    """In ``after_train_iter``: whether this iteration ended with an optimizer step that no hook refused."""
    return just_stepped(runner) and runner.train_loop.optimizer_steps.allowed


class OptimizerSteps:
    """Passed to the model instead of the optimizer wrapper: that wrapper, and an event before each step.

    Before every optimizer step the hooks that have a method ``before_optimizer_step(runner)`` are called, in the order
    of their priority. Gradients are then complete: accumulated, averaged over ranks, not yet clipped. A hook that
    returns False (not None) has them dropped: weights and optimizer are unchanged, and the hooks after it are not
    called. All ranks call the same hooks at the same steps, so these may use collectives, and must return the same.
    Modelled on ``pre_optim_step`` of OLMo-core's callbacks.

    Args:
        runner: MMEngine Runner or FlexibleRunner, with its optimizer wrapper built.
    """

    def __init__(self, runner: Any) -> None:
        self.runner = runner
        self.losses: list[torch.Tensor] = []  #: of the micro-batches of this optimizer step so far, on this rank
        self.allowed = True  #: whether the last optimizer step was taken; False if a hook refused it

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runner.optim_wrapper, name)

    def update_params(self, loss: torch.Tensor) -> None:
        """Backward, and at the end of an accumulation window the step: MMEngine's ``update_params`` with the event."""
        self.losses.append(loss.detach().float())
        engine = deepspeed_engine(self.runner)
        if engine is None:
            self._update(loss)
        else:
            self._update_by_deepspeed(loss, engine)

    def _update(self, loss: torch.Tensor) -> None:
        wrapper = self.runner.optim_wrapper
        wrapper.backward(wrapper.scale_loss(loss))
        if wrapper.should_update():
            if self._allowed():
                wrapper.step()
            wrapper.zero_grad()

    def _update_by_deepspeed(self, loss: torch.Tensor, engine: Any) -> None:
        wrapper = self.runner.optim_wrapper
        wrapper.backward(loss)
        if engine.is_gradient_accumulation_boundary() and not self._allowed():
            # The engine must step to count and to free the gradients; overflow makes it skip the rest.
            with _forced_overflow(engine.optimizer):
                wrapper.step()
        else:
            wrapper.step()  # within a window the engine only counts the micro-batch

    def _allowed(self) -> bool:
        hooks = [hook for hook in self.runner.hooks if hasattr(hook, "before_optimizer_step")]
        self.allowed = all(hook.before_optimizer_step(self.runner) is not False for hook in hooks)
        self.losses = []
        return self.allowed


@contextmanager
def _forced_overflow(optimizer: Any) -> Iterator[None]:
    """Makes ZeRO-1, 2 and 3 treat the gradients as overflowed: free them, keep everything else.

    Where ``overflow`` is set differs between the stages, and between DeepSpeed 0.19.4 and 0.19.8. All of them act on it
    right after they have told the loss scaler.
    """
    update_scale = optimizer._update_scale

    def overflowed(_: bool) -> None:
        optimizer.overflow = True
        update_scale(True)

    optimizer._update_scale = overflowed
    try:
        yield
    finally:
        del optimizer._update_scale
        optimizer.overflow = False

"""Log lines counted in optimizer steps."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import LoggerHook
from mmengine.registry import HOOKS

from sa2va_native.engine.run.optimizer_steps import accumulation_steps


@HOOKS.register_module()
class StepLoggerHook(LoggerHook):
    """MMEngine's logger hook with ``interval`` in optimizer steps. The iterations in its lines are micro-batches.

    So are those of evaluations, which MMEngine's own default would log as of epoch 0, one over the other.

    Args:
        interval: optimizer steps between log lines.
        **kwargs: those of :class:`mmengine.hooks.LoggerHook`.
    """

    def __init__(self, interval: int = 10, **kwargs: Any) -> None:
        super().__init__(interval=interval, **{"log_metric_by_epoch": False, **kwargs})
        self.interval_in_steps = interval

    def before_train(self, runner: Any) -> None:
        super().before_train(runner)
        self.interval = self.interval_in_steps * accumulation_steps(runner)

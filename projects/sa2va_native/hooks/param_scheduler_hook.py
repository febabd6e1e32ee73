"""Learning-rate schedules counted in optimizer steps."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import ParamSchedulerHook
from mmengine.registry import HOOKS

from sa2va_native.engine.run.optimizer_steps import just_stepped


@HOOKS.register_module()
class StepParamSchedulerHook(ParamSchedulerHook):
    """Steps the schedulers once per optimizer step instead of once per micro-batch.

    So ``end`` and ``T_max`` of a scheduler with ``by_epoch=False`` are optimizer steps, whatever the accumulation.
    """

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if just_stepped(runner):
            super().after_train_iter(runner, batch_idx, data_batch, outputs)

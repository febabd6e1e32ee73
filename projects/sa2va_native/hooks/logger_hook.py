"""Log lines counted in optimizer steps."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import LoggerHook
from mmengine.registry import HOOKS

from sa2va_native.engine.run.optimizer_steps import accumulation_steps


@HOOKS.register_module()
class StepLoggerHook(LoggerHook):
    """MMEngine's logger hook, counted in optimizer steps.

    What it gives to the visualizer is numbered by the steps that are done, like panels. The iterations in its lines of
    text, and the scalar ``iter``, are micro-batches.

    Args:
        interval: optimizer steps between log lines.
        **kwargs: those of :class:`mmengine.hooks.LoggerHook`.
    """

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Logs the last step of an interval."""
        step, left = divmod(runner.iter + 1, accumulation_steps(runner))
        if left or step % self.interval:
            return
        tag, line = runner.log_processor.get_log_after_iter(runner, batch_idx, "train")
        runner.logger.info(line)
        runner.visualizer.add_scalars(tag, step=step, file_path=self.json_log_path)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Logs the figures of an evaluation."""
        tag, line = runner.log_processor.get_log_after_epoch(runner, len(runner.val_dataloader), "val")
        runner.logger.info(line)
        step = runner.iter // accumulation_steps(runner)
        runner.visualizer.add_scalars(tag, step=step, file_path=self.json_log_path)

"""Evaluates the EMA teacher beside the student while a run trains."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import LOOPS
from mmengine.runner import ValLoop

from sa2va_native.errors import ConfigError
from sa2va_native.parallel.unwrap import unwrap_model


@LOOPS.register_module()
class TeacherValLoop(ValLoop):
    """MMEngine's loop, gone through twice: the student's figures have their own names, the teacher's ``teacher/...``.

    Args:
        runner, dataloader, evaluator, fp16: as in MMEngine.

    Raises:
        ConfigError: the model has no teacher.
    """

    def run(self) -> dict:
        """Evaluates both; all ranks call it."""
        self.runner.call_hook("before_val")
        self.runner.call_hook("before_val_epoch")
        self.runner.model.eval()
        model: Any = unwrap_model(self.runner.model)
        if getattr(model, "teacher", None) is None:
            raise ConfigError(
                f"val_cfg.type = TeacherValLoop, and {type(model).__name__} has no teacher. Add EMATeacherHook to "
                "default_hooks, or take MMEngine's ValLoop."
            )
        metrics = self._figures()
        with torch.no_grad(), model.teacher.applied_to(model):
            metrics.update({f"teacher/{name}": value for name, value in self._figures().items()})
        self.runner.call_hook("after_val_epoch", metrics=metrics)
        self.runner.call_hook("after_val")
        return metrics

    def _figures(self) -> dict[str, float]:
        for index, data_batch in enumerate(self.dataloader):
            self.run_iter(index, data_batch)
        return self.evaluator.evaluate(len(self.dataloader.dataset))

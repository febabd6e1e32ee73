"""Gives the model its EMA teacher and lets the teacher follow the student."""

from __future__ import annotations

from typing import Any

from mmengine.registry import HOOKS

from pseudo_gumbel.hooks.shadow_hook import ShadowHook
from pseudo_gumbel.schedules import ema_decay
from pseudo_gumbel.teacher import EMATeacher
from sa2va_native.engine.run.optimizer_steps import just_updated, optimizer_steps
from sa2va_native.errors import ConfigError


@HOOKS.register_module()
class EMATeacherHook(ShadowHook[EMATeacher]):
    """Sets ``model.teacher`` and updates it once per optimizer step, not once per micro-batch.

    The teacher starts as the student, or as the checkpoint has it when the run is resumed. A step that is skipped, e.g.
    for a loss that is not finite, leaves it as it is.

    Logs ``ema/decay`` and ``ema/distance`` (relative L2 distance between student and teacher).

    Args:
        decay: share of the teacher kept at each step, 0..1, e.g. 0.999 (MMEngine's ``momentum`` is 1 minus this).
        warmup: see :func:`pseudo_gumbel.schedules.ema_decay`.
        interval: optimizer steps between two logged distances, which read all trained tensors.

    Raises:
        ConfigError: a decay outside 0..1.
        CheckpointError: on resume, if the checkpoint has no teacher or one that does not fit.
    """

    checkpoint_key = "ema_teacher"

    def __init__(self, decay: float = 0.999, warmup: int = 0, interval: int = 10) -> None:
        super().__init__()
        if not 0 <= decay <= 1:
            raise ConfigError(f"EMATeacherHook.decay={decay}: a share of the teacher, 0..1; the method uses 0.999")
        self.decay, self.warmup, self.interval = decay, warmup, interval

    def make(self, model: Any) -> EMATeacher:
        model.teacher = EMATeacher(model)
        return model.teacher

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if not just_updated(runner):
            return
        step = optimizer_steps(runner)
        decay = ema_decay(step - 1, self.decay, self.warmup)
        self.shadow.update(decay)
        if step % self.interval == 0:
            runner.message_hub.update_scalar("train/ema/decay", decay)
            runner.message_hub.update_scalar("train/ema/distance", float(self.shadow.distance()))

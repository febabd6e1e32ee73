"""Gives RefreshedReader its copy of the weights, and replaces it every so many optimizer steps."""

from __future__ import annotations

from typing import Any, Literal

import torch
from mmengine.registry import HOOKS

from pseudo_gumbel.hooks.shadow_hook import ShadowHook
from pseudo_gumbel.readers.refreshed_reader import RefreshedReader
from pseudo_gumbel.shadow import Shadow
from sa2va_native.engine.run.optimizer_steps import just_stepped, optimizer_steps
from sa2va_native.errors import ConfigError
from sa2va_native.parallel.shares import own_share
from sa2va_native.parallel.unwrap import unwrap_model


class RefreshedCopy(Shadow):
    """The trained parameters as they were at the last refresh."""

    role = "refreshed reader"

    @torch.no_grad()
    def refresh(self, source: Shadow | None) -> None:
        """Become a copy of ``source``, or of the student. Local to the rank, no collective."""
        for name, param in self.params.items():
            self.shadow[name].copy_(own_share(param) if source is None else source.shadow[name])


@HOOKS.register_module()
class RefreshedReaderHook(ShadowHook[RefreshedCopy]):
    """Copies the weights for RefreshedReader at the start and after every ``interval`` optimizer steps.

    Checkpoints hold the copy, so that a resumed run goes on with the same old one.

    Args:
        interval: optimizer steps of the whole run between two refreshes, >= 1.
        source: whose weights are copied, ``"student"`` or ``"teacher"`` (EMATeacherHook's).

    Raises:
        ConfigError: an option outside its range, the model has another reader, or no teacher to copy.
        CheckpointError: on resume, if the checkpoint has no such copy or one that does not fit.
    """

    priority = "BELOW_NORMAL"  # after the teacher has moved, before a checkpoint is written
    checkpoint_key = "refreshed_reader"

    def __init__(self, interval: int = 200, source: Literal["student", "teacher"] = "student") -> None:
        super().__init__()
        if interval < 1:
            raise ConfigError(f"RefreshedReaderHook.interval={interval}: at least 1 optimizer step; SC-Tune takes 200")
        if source not in ("student", "teacher"):
            raise ConfigError(f"RefreshedReaderHook.source={source!r}: use 'student' or 'teacher'")
        self.interval, self.source = interval, source

    def make(self, model: Any) -> RefreshedCopy:
        if not isinstance(model.reader, RefreshedReader):
            raise ConfigError(
                f"RefreshedReaderHook with model.reader={type(model.reader).__name__}: nothing would read with its "
                "copy. Use reader=dict(type=RefreshedReader), or leave the hook out."
            )
        if self.source == "teacher" and model.teacher is None:
            raise ConfigError(
                "RefreshedReaderHook.source='teacher', but there is none: add "
                "default_hooks.ema_teacher=dict(type=EMATeacherHook), or use source='student'"
            )
        model.reader.weights = RefreshedCopy(model)  # the teacher starts as the student
        return model.reader.weights

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if just_stepped(runner) and optimizer_steps(runner) % self.interval == 0:
            model: Any = unwrap_model(runner.model)
            self.shadow.refresh(model.teacher if self.source == "teacher" else None)

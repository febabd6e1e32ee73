"""Gives the model its EMA teacher and lets the teacher follow the student."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from pseudo_gumbel.schedules import ema_decay
from pseudo_gumbel.teacher import EMATeacher
from sa2va_native.engine.run.before_step import just_stepped, optimizer_steps
from sa2va_native.errors import CheckpointError
from sa2va_native.parallel.unwrap import unwrap_model


@HOOKS.register_module()
class EMATeacherHook(Hook):
    """Sets ``model.teacher`` and updates it once per optimizer step, not once per micro-batch.

    The teacher starts as the student, or as the checkpoint has it when the run is resumed.

    Logs ``ema/decay`` and ``ema/distance`` (relative L2 distance between student and teacher).

    Args:
        decay: share of the teacher kept at each step, e.g. 0.999 (MMEngine's ``momentum`` is 1 minus this).
        warmup: see :func:`pseudo_gumbel.schedules.ema_decay`.
        interval: optimizer steps between two logged distances, which read all trained tensors.

    Raises:
        CheckpointError: on resume, if the checkpoint has no teacher or one that does not fit.
    """

    priority = "NORMAL"
    keeps_shadow = True  #: for the plan of a run's memory
    checkpoint_key = "ema_teacher"  #: what the teacher's weights are kept under

    def __init__(self, decay: float = 0.999, warmup: int = 0, interval: int = 10) -> None:
        self.decay, self.warmup, self.interval = decay, warmup, interval
        self.loaded: dict[str, torch.Tensor] | None = None
        self.to_save: dict[str, torch.Tensor] = {}
        self.teacher: EMATeacher

    def before_train(self, runner: Any) -> None:
        model: Any = unwrap_model(runner.model)
        self.teacher = model.teacher = EMATeacher(model)
        if runner.iter > 0:
            self._restore()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if not just_stepped(runner):
            return
        step = optimizer_steps(runner)
        decay = ema_decay(step - 1, self.decay, self.warmup)
        self.teacher.update(decay)
        if step % self.interval == 0:
            runner.message_hub.update_scalar("train/ema/decay", decay)
            runner.message_hub.update_scalar("train/ema/distance", float(self.teacher.distance()))

    def before_checkpoint(self, runner: Any) -> None:
        """On all ranks: under ZeRO-3 the slices are gathered."""
        if self.teacher.is_partitioned or is_main_process():
            state = self.teacher.state_dict()
            self.to_save = state if is_main_process() else {}

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        checkpoint[self.checkpoint_key], self.to_save = self.to_save, {}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        self.loaded = checkpoint.pop(self.checkpoint_key, None)

    def _restore(self) -> None:
        loaded, self.loaded = self.loaded, None
        if loaded is None:
            raise CheckpointError(
                "the checkpoint to resume has no EMA teacher: it was written without EMATeacherHook, or "
                "by a strategy that "
                "keeps no hook state. Start a new run from its weights with --load-from."
            )
        if self.teacher.is_partitioned:
            loaded = self._from_main_rank(loaded)
        self.teacher.load_state_dict(loaded)

    def _from_main_rank(self, loaded: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Under ZeRO-3 every rank reads its own file, and only the main rank's holds the teacher."""
        names: list[Any] = [{name: tuple(tensor.shape) for name, tensor in loaded.items()}]
        dist.broadcast_object_list(names)
        device = next(iter(self.teacher.shadow.values())).device
        state = {}
        for name, shape in names[0].items():
            tensor = loaded[name].to(device) if is_main_process() else torch.empty(shape, device=device)
            dist.broadcast(tensor, 0)
            state[name] = tensor.cpu()
        return state

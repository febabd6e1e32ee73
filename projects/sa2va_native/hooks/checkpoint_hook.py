"""Checkpoints counted in optimizer steps, and never lost to a kill."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS

import sa2va_native.engine.checkpoints.atomic_backend  # noqa: F401  registers the file backend "atomic"
from sa2va_native.engine.run.optimizer_steps import accumulation_steps
from sa2va_native.errors import CheckpointError, ConfigError

#: torch says no more when a file cannot be written.
_TORCH_CANNOT_WRITE = "PytorchStreamWriter failed writing file"


@HOOKS.register_module()
class StepCheckpointHook(CheckpointHook):
    """MMEngine's checkpoint hook, counting in optimizer steps, so that no half-accumulated gradient is lost on resume.

    Before a checkpoint is written, every hook with a method ``before_checkpoint(runner)`` is called on *all*
    ranks; the plain Runner calls ``before_save_checkpoint`` on the main rank only, where collectives would hang.
    While ``weights_in_doubt`` of any hook is true, none is written, except at the very end. A run that stops early is
    saved where it stops.

    Args:
        interval: optimizer steps between checkpoints.
        max_keep_ckpts: how many to keep, at least 2; -1 keeps all. The oldest is deleted before the new one is written.
        **kwargs: those of :class:`mmengine.hooks.CheckpointHook`.

    Raises:
        ConfigError: ``max_keep_ckpts`` would leave a moment without any checkpoint.
        CheckpointError: while training, one that cannot be written.
    """

    def __init__(self, interval: int, max_keep_ckpts: int = -1, **kwargs: Any) -> None:
        if max_keep_ckpts in (0, 1):
            raise ConfigError(
                f"default_hooks.checkpoint.max_keep_ckpts={max_keep_ckpts}: the old checkpoint is deleted before the "
                "new one is complete, so keep at least 2 (or -1 for all)."
            )
        kwargs = {"backend_args": {"backend": "atomic"}, **kwargs}
        super().__init__(interval=interval, by_epoch=False, max_keep_ckpts=max_keep_ckpts, **kwargs)
        self.interval_in_steps = interval

    def before_train(self, runner: Any) -> None:
        super().before_train(runner)
        self.interval = self.interval_in_steps * accumulation_steps(runner)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        # Weights that may have caused the non-finite loss must not displace an older checkpoint.
        in_doubt = any(getattr(hook, "weights_in_doubt", False) for hook in runner.hooks)
        if in_doubt and not self.is_last_train_iter(runner):
            return
        if runner.train_loop.stop_training:
            self._save_checkpoint(runner)
        else:
            super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Leaves out the history of the logs, which grows with the run and which ``torch.load`` refuses by default."""
        runtime = {key: value for key, value in checkpoint["message_hub"]["runtime_info"].items() if key != "eta"}
        checkpoint["message_hub"] = {
            "log_scalars": {},
            "runtime_info": runtime,
            "resumed_keys": dict.fromkeys(runtime, True),
        }

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Drops the text of a config, which MMEngine would execute when it resumes. Ours is under another key."""
        checkpoint.get("meta", {}).pop("config", None)

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict) -> None:
        runner.call_hook("before_checkpoint")
        try:
            super()._save_checkpoint_with_step(runner, step, meta)
        except (OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and _TORCH_CANNOT_WRITE not in str(error):
                raise
            reason = getattr(error, "strerror", None) or "no space, or a limit of the file system"
            raise CheckpointError(
                f"the checkpoint of iteration {step} could not be written to {self.out_dir} ({reason}). Those that "
                "are there are whole. Make room, then continue with --resume."
            ) from error

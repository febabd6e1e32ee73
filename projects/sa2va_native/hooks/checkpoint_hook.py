"""Checkpoints counted in optimizer steps, never lost to a kill, of one run, and with finite values alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS

from sa2va_native.engine.checkpoints.atomic_backend import is_unwritten, unwritten
from sa2va_native.engine.checkpoints.checkpointing import BEST_NAME, put_beside, seal_values
from sa2va_native.engine.checkpoints.fitting import as_written, require_optimizer, require_weights
from sa2va_native.engine.checkpoints.live_state import require_finite_state
from sa2va_native.engine.run.optimizer_steps import accumulation_steps, deepspeed_engine, optimizer_steps
from sa2va_native.engine.run.step_size import StepSize, count_in_own_batches
from sa2va_native.errors import ConfigError, did_you_mean
from sa2va_native.files.atomic import discard, discard_incomplete
from sa2va_native.parallel.agreement import from_main_rank
from sa2va_native.parallel.parameters import trainable_parameters
from sa2va_native.parallel.unwrap import unwrap_model


@HOOKS.register_module()
class StepCheckpointHook(CheckpointHook):
    """MMEngine's checkpoint hook, counting in optimizer steps, so that no half-accumulated gradient is lost on resume.

    Before a checkpoint is written, every hook with a method ``before_checkpoint(runner)`` is called on *all*
    ranks; the plain Runner calls ``before_save_checkpoint`` on the main rank only, where collectives would hang.
    While ``weights_in_doubt`` of any hook is true, none is written, except at the very end. A run that stops early is
    saved where it stops. One that would hold a NaN is never written.

    A run has an identity, which its checkpoints carry and a resumed run keeps. When a run begins, the checkpoints in
    its work dir that it does not go on from are moved to ``earlier_runs``, and half-written ones are deleted.

    With ``save_best`` the checkpoint of the best evaluation is kept too, as ``best_<figure>_iter_<number>.pth``. It is
    as complete as any other, so that a run can be resumed from it; the one before is deleted when it is written.

    Args:
        interval: optimizer steps between checkpoints.
        max_keep_ckpts: how many to keep, at least 2; -1 keeps all. The oldest is deleted before the new one is written.
        save_best: figures of ``val_evaluator``, e.g. ``val/refer_ciou``; ``auto`` is the first one.
        rule: ``greater`` or ``less``: which of two figures is better.
        **kwargs: those of :class:`mmengine.hooks.CheckpointHook`.

    Raises:
        ConfigError: ``max_keep_ckpts`` would leave a moment without any checkpoint; while training, no such figure.
        TrainingError: while training, one that cannot be written.
    """

    def __init__(
        self,
        interval: int,
        max_keep_ckpts: int = -1,
        save_best: str | list[str] | None = None,
        rule: str | list[str] = "greater",
        **kwargs: Any,
    ) -> None:
        if max_keep_ckpts in (0, 1):
            raise ConfigError(
                f"default_hooks.checkpoint.max_keep_ckpts={max_keep_ckpts}: the old checkpoint is deleted before the "
                "new one is complete, so keep at least 2 (or -1 for all)."
            )
        kwargs = {"backend_args": {"backend": "atomic"}, "save_best": save_best, "rule": rule, **kwargs}
        super().__init__(interval=interval, by_epoch=False, max_keep_ckpts=max_keep_ckpts, **kwargs)
        self.interval_in_steps = interval
        self.loaded: dict[str, Any] = {}  #: ``meta`` of the checkpoint to resume
        self.run: str | None = None  #: identity of the run
        self.step = 0  #: micro-batches done at the last checkpoint
        self.saved = 0  #: when the last checkpoint was written, in nanoseconds since 1970

    def before_train(self, runner: Any) -> None:
        super().before_train(runner)
        self.interval = self.interval_in_steps * accumulation_steps(runner)
        before = _run_of(self.loaded)
        self.run = from_main_rank(lambda: before.get("id") or uuid4().hex)
        if is_main_process():
            discard_incomplete(Path(self.out_dir), "*iter_*")
            iteration = self.loaded.get("iter", 0)
            place = put_beside(self.out_dir, before.get("id"), before.get("saved", 0), iteration)
            if place is not None:
                runner.logger.warning(
                    f"{self.out_dir} held checkpoints that this run does not go on from. They are now in {place}; "
                    "--resume with the path of one goes on from it."
                )

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if _in_doubt(runner) and not self.is_last_train_iter(runner):
            return
        if runner.train_loop.stop_training:
            self._save_checkpoint(runner)
        else:
            super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float]) -> None:
        """Nothing yet: what is saved now would hold the random states of the evaluation."""

    def after_evaluation(self, runner: Any, metrics: dict[str, float]) -> None:
        """Saves the best; on all ranks, when everything is again as the run goes on with it."""
        self._save_best_checkpoint(runner, metrics)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Adds the run's identity, and leaves out the logs' history, which grows and which ``torch.load`` refuses."""
        checkpoint["meta"]["run"] = self._about(runner)
        checkpoint["meta"]["iter"] = self.step  # FlexibleRunner counts one more, whatever it is told
        runtime = {key: value for key, value in checkpoint["message_hub"]["runtime_info"].items() if key != "eta"}
        checkpoint["message_hub"] = {
            "log_scalars": {},
            "runtime_info": runtime,
            "resumed_keys": dict.fromkeys(runtime, True),
        }

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Checks what the plain Runner is about to take from a file, and drops what it would execute.

        That is the text of a config; ours is under another key.

        Raises:
            CheckpointError: weights or optimizer do not fit by name or shape, or are not finite.
        """
        with as_written(str(runner._load_from)):
            self._check(runner, checkpoint)

    def _check(self, runner: Any, checkpoint: dict) -> None:
        meta = checkpoint.get("meta", {})
        meta.pop("config", None)
        resumes = bool(runner._resume)
        self.loaded = dict(meta) if resumes else {}
        if deepspeed_engine(runner) is not None:
            return
        where, model = str(runner._load_from), unwrap_model(runner.model)
        needed = (model.state_dict() if resumes else trainable_parameters(model)).keys()
        require_weights(checkpoint.get("state_dict", {}), model, needed, where)
        if resumes:
            if "optimizer" in checkpoint:
                require_optimizer(checkpoint["optimizer"], runner.optim_wrapper.optimizer, where)
            if run := _run_of(meta):
                before = StepSize(run["accumulation"], run["samples"])
                meta["iter"] = count_in_own_batches(meta["iter"], before, _step_size(runner), where, runner.logger)

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict) -> None:
        with self._writing(runner, self.filename_tmpl.format(step), step):
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Any, metrics: dict[str, float]) -> None:
        """As MMEngine's, which writes what hooks keep of an earlier checkpoint, and deletes before it writes."""
        if not self.save_best or _in_doubt(runner):
            return
        if self.key_indicators == ["auto"]:
            self._init_rule(self.rules, [next(iter(metrics), "auto")])
        step, known = runner.iter, runner.message_hub.runtime_info
        better = [
            key
            for key, rule in zip(self.key_indicators, self.rules, strict=True)
            if self.rule_map[rule](_figure(metrics, key), known.get(f"best_score_{key}", self.init_value_map[rule]))
        ]
        meta = dict(epoch=runner.epoch, iter=step)
        for key in better:
            name, before = _best_name(key, self.filename_tmpl.format(step)), known.get(f"best_ckpt_{key}")
            runner.message_hub.update_info(f"best_score_{key}", float(metrics[key]))
            runner.message_hub.update_info(f"best_ckpt_{key}", name)
            with self._writing(runner, name, step):
                runner.save_checkpoint(
                    self.out_dir, name, meta=meta, by_epoch=False, backend_args=self.backend_args, **self.args
                )
            runner.logger.info(f"{name} is the best so far: {key} {metrics[key]:.4f}.")
            # A checkpoint that was resumed may have named it: nothing else is deleted.
            if before != name and BEST_NAME.fullmatch(str(before)) and is_main_process():
                discard(Path(self.out_dir, before))
        if better and Path(self.last_ckpt or "").name == self.filename_tmpl.format(step):
            self._save_checkpoint_with_step(runner, step, meta)  # it was written before it was known what is best

    @contextmanager
    def _writing(self, runner: Any, name: str, step: int) -> Iterator[None]:
        """What must be so before a checkpoint is written, on all ranks, and what is said if it cannot be."""
        require_finite_state(runner)
        runner.call_hook("before_checkpoint")
        self.step = step
        self.saved = time.time_ns()  # whole, so that checkpoints of equal runs are of equal size
        if (self.backend_args or {}).get("backend") == "atomic":
            self.backend_args["about"] = seal_values(self._about(runner))
        try:
            yield
        except (OSError, RuntimeError) as error:
            if not is_unwritten(error):
                raise
            raise unwritten(Path(self.out_dir, name), error) from error

    def _about(self, runner: Any) -> dict[str, Any]:
        """Of which run a checkpoint is, and where in it."""
        return {"id": self.run, "saved": self.saved, "step": optimizer_steps(runner), **_step_size(runner)._asdict()}


def _in_doubt(runner: Any) -> bool:
    """Whether the weights may have caused a non-finite loss; they must not displace an older checkpoint."""
    return any(getattr(hook, "weights_in_doubt", False) for hook in runner.hooks)


def _figure(metrics: dict[str, float], key: str) -> float:
    if key not in metrics:
        raise ConfigError(
            f"default_hooks.checkpoint.save_best={key!r}: val_evaluator reports no such figure. "
            f"{did_you_mean(key, metrics)}"
        )
    return metrics[key]


def _best_name(key: str, name: str) -> str:
    return f"best_{key}_{name}".replace("/", "_")


def _run_of(meta: dict[str, Any]) -> dict[str, Any]:
    """What :meth:`StepCheckpointHook._about` wrote; empty for a checkpoint of an earlier version."""
    kinds, run = {"id": str, "saved": int, "accumulation": int, "samples": int}, meta.get("run")
    known = isinstance(run, dict) and all(isinstance(run.get(key), kind) for key, kind in kinds.items())
    return run if known else {}  # type: ignore[return-value]


def _step_size(runner: Any) -> StepSize:
    accumulation, loader = accumulation_steps(runner), runner.cfg.get("train_dataloader") or {}
    return StepSize(accumulation, accumulation * loader.get("batch_size", 1) * get_world_size())

"""MMEngine's DeepSpeed strategy, made safe to kill and able to run without a GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine._strategy import DeepSpeedStrategy
from mmengine.config import ConfigDict
from mmengine.device import get_device
from mmengine.dist import barrier, is_main_process
from mmengine.registry import STRATEGIES

from sa2va_native.engine.checkpoints import checkpointing
from sa2va_native.engine.checkpoints.atomic_backend import is_unwritten, unwritten
from sa2va_native.engine.checkpoints.resharding import group_names, load_resharded, require_fitting
from sa2va_native.engine.checkpoints.safe_load import load_file
from sa2va_native.engine.checkpoints.weights import load_weights
from sa2va_native.engine.checkpoints.zero_shards import ZeroShards
from sa2va_native.engine.run.deepspeed_compat import forget_gradients_after_steps, supply_deepspeed
from sa2va_native.engine.run.step_size import StepSize, count_in_own_batches
from sa2va_native.engine.run.use_engine import deepspeed_file
from sa2va_native.files.atomic import discard, discard_incomplete
from sa2va_native.parallel.process_group import describe_single_rank, has_cuda, init_cpu_process_group
from sa2va_native.parallel.unwrap import unwrap_model


@STRATEGIES.register_module()
class Sa2VADeepSpeedStrategy(DeepSpeedStrategy):
    """DeepSpeed ZeRO-1, 2 and 3 with five differences from MMEngine's strategy.

    - Ranks without a GPU talk over gloo.
    - A checkpoint folder is written under a temporary name and renamed when all ranks are done.
    - Hooks' ``before_save_checkpoint`` and ``after_load_checkpoint`` are called, which MMEngine's strategy omits, so
      that they can keep their state in the checkpoint. Under ZeRO-3 every rank writes and reads its own copy.
    - A run can be resumed by another number of ranks and under another stage.
    - Checkpoints are read without running code that they contain.

    Args:
        load_from: checkpoint whose weights a new run starts with; loaded before the model is sharded.
        **kwargs: those of :class:`mmengine._strategy.DeepSpeedStrategy`.
    """

    config: Any  #: settings of DeepSpeed

    def __init__(self, *, load_from: str | None = None, **kwargs: Any) -> None:
        supply_deepspeed()
        super().__init__(**kwargs)
        self.load_from = load_from

    def _parse_config(self, config: Any) -> Any:
        """Accepts a name of configs/deepspeed too."""
        return super()._parse_config(str(deepspeed_file(config)) if isinstance(config, str) else config)

    def _setup_distributed(self, launcher: str | None = None, backend: str = "nccl", **kwargs: Any) -> None:
        if has_cuda():
            super()._setup_distributed(launcher, backend, **kwargs)
        else:
            init_cpu_process_group()

    def _init_model_weights(self, model: Any) -> Any:
        model = super()._init_model_weights(model)
        if self.load_from is not None:
            load_weights(model, self.load_from)
        return model

    def _wrap_model(self, model: Any) -> Any:
        # A single process without a launcher has not joined a group yet.
        describe_single_rank() if has_cuda() else init_cpu_process_group()
        if isinstance(self.config, ConfigDict):
            self.config = self.config.to_dict()  # DeepSpeed puts it into checkpoints
        if not has_cuda():
            # DeepSpeed waits only for the last of several weights that it gathers at once. NCCL finishes them in order,
            # gloo does not: now and then a forward pass would read weights that have not arrived yet.
            self.config.setdefault("zero_optimization", {})["stage3_allgather_sequential"] = True
        wrapper = super()._wrap_model(model)
        # The engine moves the model there except under ZeRO-3, which moves parameters alone.
        unwrap_model(wrapper).data_preprocessor.to(get_device())
        forget_gradients_after_steps(wrapper.model)
        wrapper.model.checkpoint_engine.load = lambda path, map_location=None: load_file(path)
        return wrapper

    def save_checkpoint(
        self, filename: str, *, extra_ckpt: dict | None = None, callback: Callable | None = None, **kwargs: Any
    ) -> None:
        """Writes ``filename`` so that it is complete as soon as it exists. Called by all ranks.

        Raises:
            TrainingError: this rank cannot write its part; nothing of the checkpoint is left.
        """
        extra_ckpt = {} if extra_ckpt is None else extra_ckpt
        if callback is not None:
            callback(extra_ckpt)
        about = checkpointing.seal_values(extra_ckpt.get("meta", {}).get("run", {}))
        final, temporary = Path(filename), checkpointing.unfinished_folder(filename)
        if is_main_process():
            discard_incomplete(final.parent)
        barrier()
        try:
            super().save_checkpoint(filename=str(temporary), extra_ckpt=extra_ckpt, **kwargs)
            barrier()  # all ranks have written their part
            if is_main_process():
                checkpointing.commit_folder(temporary, final, about)
        except (OSError, RuntimeError) as error:
            with contextlib.suppress(OSError):  # another rank may be deleting it too
                discard(temporary)
            if is_unwritten(error):
                raise unwritten(final, error) from error
            raise
        barrier()

    def resume(self, filename: str, *, callback: Callable | None = None, **kwargs: Any) -> dict:
        """Restores weights, optimizer, schedulers and what hooks saved, from any number of ranks and any ZeRO stage.

        Raises:
            CheckpointError: the checkpoint was written without DeepSpeed, does not fit, or could run code.
        """
        checkpointing.require_same_engine(filename, deepspeed=True)
        engine: Any = self.model.model
        if engine.zero_optimization():
            shards, stage = ZeroShards(filename), int(engine.zero_optimization_stage())
            require_fitting(engine, shards)
            if (shards.ranks, shards.stage) != (self.world_size, stage):
                self.logger.info(
                    f"{filename} was written by {shards.ranks} ranks under ZeRO-{shards.stage}; this run has "
                    f"{self.world_size} under ZeRO-{stage}."
                )
            if (shards.ranks, shards.stage, shards.group_names) != (self.world_size, stage, group_names(engine)):
                # Hides the engine's own method, which refuses such a checkpoint.
                self.model.load_checkpoint = lambda *_, **__: (filename, load_resharded(engine, shards))
        checkpoint = super().resume(filename, **kwargs)
        self.model.__dict__.pop("load_checkpoint", None)
        if callback is not None:
            callback(checkpoint)
        saved, now = checkpoint["ds_config"], engine.gradient_accumulation_steps()
        before = saved["gradient_accumulation_steps"]
        batch = saved["train_micro_batch_size_per_gpu"] * before * engine.loaded_checkpoint_dp_world_size
        sizes = StepSize(before, batch), StepSize(now, engine.train_batch_size())
        meta = checkpoint["meta"]
        meta["iter"] = count_in_own_batches(meta["iter"], *sizes, filename, self.logger)
        return checkpoint

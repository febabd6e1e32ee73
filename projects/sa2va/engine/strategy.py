"""XTuner's DeepSpeed strategy, made safe to kill and able to run without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import ConfigDict
from mmengine.dist import barrier, is_main_process
from mmengine.registry import STRATEGIES
from xtuner.engine import DeepSpeedStrategy
from xtuner.parallel.sequence import init_sequence_parallel

from projects.sa2va.engine import checkpointing
from projects.sa2va.engine.distributed import describe_single_rank, has_cuda, init_cpu_process_group
from projects.sa2va.engine.weights import load_weights
from projects.sa2va.errors import CheckpointError


def adopt_strategy(strategy: Any) -> None:
    """Makes the strategy that ``xtuner train --deepspeed`` sets up this project's; before the model is built."""
    if type(strategy) is DeepSpeedStrategy:
        strategy.__class__ = Sa2VADeepSpeedStrategy
        strategy.load_from = None
        del strategy.hf_deepspeed_config


@STRATEGIES.register_module()
class Sa2VADeepSpeedStrategy(DeepSpeedStrategy):
    """DeepSpeed ZeRO-1, 2 and 3 with three differences to XTuner's strategy.

    - Ranks without a GPU talk over gloo.
    - A checkpoint folder is written under a temporary name and renamed when all ranks are done.
    - Hooks get their ``before_save_checkpoint`` and ``after_load_checkpoint``, which MMEngine's strategy leaves out, so
      that they can keep their state in the checkpoint. Under ZeRO-3 every rank writes and reads its own copy.

    Args:
        load_from: checkpoint whose weights a new run begins with; loaded before the model is sharded.
        **kwargs: those of :class:`mmengine._strategy.DeepSpeedStrategy`.
    """

    config: Any  #: settings of DeepSpeed

    def __init__(self, *, load_from: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.load_from = load_from
        # While XTuner's object lives, transformers builds models already sliced under ZeRO-3, and weights loaded
        # afterwards would meet empty tensors. DeepSpeed slices the finished model instead.
        del self.hf_deepspeed_config

    def _setup_distributed(self, launcher: str | None = None, backend: str = "nccl", **kwargs: Any) -> None:
        if has_cuda():
            super()._setup_distributed(launcher, backend, **kwargs)
        else:
            init_cpu_process_group()
            init_sequence_parallel(self.sequence_parallel_size)

    def _init_model_weights(self, model: Any) -> Any:
        model = super()._init_model_weights(model)
        if self.load_from is not None:
            load_weights(model, self.load_from)
        return model

    def _wrap_model(self, model: Any) -> Any:
        # A single process without launcher has not joined a group yet.
        describe_single_rank() if has_cuda() else init_cpu_process_group()
        if isinstance(self.config, ConfigDict):
            self.config = self.config.to_dict()  # DeepSpeed puts it into checkpoints
        return super()._wrap_model(model)

    def save_checkpoint(
        self, filename: str, *, extra_ckpt: dict | None = None, callback: Callable | None = None, **kwargs: Any
    ) -> None:
        """Writes ``filename`` so that it is complete as soon as it exists. Called by all ranks."""
        extra_ckpt = {} if extra_ckpt is None else extra_ckpt
        if callback is not None:
            callback(extra_ckpt)
        final, temporary = Path(filename), checkpointing.temporary_name(filename)
        if is_main_process():
            checkpointing.discard_temporary(final)
        barrier()
        super().save_checkpoint(filename=str(temporary), extra_ckpt=extra_ckpt, **kwargs)
        barrier()  # all ranks have written their part
        if is_main_process():
            checkpointing.commit(temporary, final)
        barrier()

    def resume(self, filename: str, *, callback: Callable | None = None, **kwargs: Any) -> dict:
        """Restores weights, optimizer, schedulers and what the hooks saved.

        Raises:
            CheckpointError: the checkpoint was written by another number of ranks, or without DeepSpeed.
        """
        checkpointing.require_same_engine(filename, deepspeed=True)
        shards = list(Path(filename).glob("*optim_states.pt"))
        if shards and len(shards) != self.world_size:
            raise CheckpointError(
                f"{filename} was written by {len(shards)} ranks and cannot be resumed by {self.world_size}. "
                f"Start {len(shards)} ranks, or begin a new run from its weights with --load-from."
            )
        checkpoint = super().resume(filename, **kwargs)
        if callback is not None:
            callback(checkpoint)
        return checkpoint

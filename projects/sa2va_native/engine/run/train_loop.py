"""MMEngine's train loop, counted in optimizer steps and resumed without reading old data."""

from __future__ import annotations

from typing import Any

from mmengine.dist import all_gather_object, broadcast_object_list, get_world_size
from mmengine.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop
from mmengine.runner.loops import _InfiniteDataloaderIterator

from sa2va_native.engine.run.optimizer_steps import OptimizerSteps, accumulation_steps
from sa2va_native.engine.run.use_engine import settle_runner
from sa2va_native.engine.run.xtuner_guest import adopt_strategy
from sa2va_native.errors import ConfigError, DataError
from sa2va_native.parallel.parameters import is_partitioned
from sa2va_native.parallel.unwrap import unwrap_model


@LOOPS.register_module()
class TrainLoop(IterBasedTrainLoop):
    """Trains for ``max_steps`` optimizer steps.

    On resume MMEngine loads and discards every batch that was already trained on. Here the batch sampler's attribute
    ``start`` is set (in micro-batches of the whole run), which gives the same next batch at once.

    Before each optimizer step the hooks' ``before_optimizer_step(runner)`` is called, see :class:`OptimizerSteps`.

    A learning-rate schedule without ``end`` ends with the run, whatever ``max_steps`` says.

    The run's seed becomes that of the batch sampler, the data set and the model, where they have one (an attribute
    ``seed``).

    Args:
        runner: MMEngine Runner or FlexibleRunner.
        dataloader: its batch sampler has an attribute ``start``.
        max_steps: optimizer steps to train for; each takes ``accumulation_steps`` micro-batches.
        val_begin: optimizer step from which on the run is evaluated.
        val_interval: optimizer steps between evaluations.

    Raises:
        ConfigError: a number below 1; on resume, a batch sampler without ``start``; an evaluation on several ranks
            under ZeRO-3.
        DataError: ranks with data sets of different lengths.
    """

    def __init__(
        self, runner: Any, dataloader: Any, max_steps: int, val_begin: int = 1, val_interval: int = 1000
    ) -> None:
        if min(max_steps, val_interval) < 1:
            raise ConfigError(f"train_cfg: max_steps={max_steps}, val_interval={val_interval}: at least 1 each.")
        # Under `xtuner train --deepspeed` XTuner chooses the strategy, and no code of ours runs before this.
        adopt_strategy(getattr(runner, "strategy", None))
        settle_runner(runner)
        _end_with_the_run(runner.param_schedulers, max_steps)
        counts = accumulation_steps(runner)
        super().__init__(
            runner,
            dataloader,
            max_iters=max_steps * counts,
            val_begin=val_begin * counts,
            val_interval=val_interval * counts,
        )
        self.optimizer_steps = OptimizerSteps(runner)

    def run(self) -> Any:
        """Trains to the end, from where the run was resumed."""
        _require_equal_data(self.dataloader.dataset)
        seeds, model = [self.runner.seed], unwrap_model(self.runner.model)
        if self.runner.val_loop is not None and get_world_size() > 1 and is_partitioned(next(model.parameters())):
            raise ConfigError(
                "val_cfg under ZeRO-3: every forward gathers weights from all ranks, and in an evaluation each rank "
                "has its own number of batches and answers, so they would wait for each other. Use --deepspeed zero2, "
                "or leave val_cfg out and evaluate checkpoints with pseudo-gumbel test."
            )
        broadcast_object_list(seeds)  # with MMEngine's diff_rank_seed each rank has its own, for dropout alone
        seed = seeds[0]
        if hasattr(model, "seed"):
            model.seed = seed
        # Before any hook runs: starting the workers draws from torch's random state, which a hook restores.
        data = self.dataloader.batch_sampler, self.dataloader.dataset
        if self._iter > 0 or any(getattr(one, "seed", seed) != seed for one in data):
            self._start_at(self._iter, seed)
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._decide_current_val_interval()
            if self.runner.val_loop is not None and self._val_is_due():
                self.runner.val_loop.run()
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        return self.runner.model

    def run_iter(self, data_batch: Any) -> None:
        """One micro-batch, with the optimizer step where it ends an accumulation window."""
        self.runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=data_batch)
        outputs = self.runner.model.train_step(data_batch, optim_wrapper=self.optimizer_steps)
        self.runner.call_hook("after_train_iter", batch_idx=self._iter, data_batch=data_batch, outputs=outputs)
        self._iter += 1

    def _start_at(self, iteration: int, seed: int) -> None:
        sampler = self.dataloader.batch_sampler
        if not hasattr(sampler, "start"):
            raise ConfigError(
                f"train_dataloader.batch_sampler: {type(sampler).__name__} has no attribute `start`, so the run cannot "
                "be resumed exactly. Use MixtureBatchSampler."
            )
        sampler.start = iteration
        for one in (sampler, self.dataloader.dataset):
            if hasattr(one, "seed"):
                one.seed = seed
        self.dataloader._iterator = None  # persistent workers would keep using their old data set
        self.dataloader_iterator = _InfiniteDataloaderIterator(self.dataloader)

    def _val_is_due(self) -> bool:
        due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        return due and self._iter >= self.val_begin


def _require_equal_data(dataset: Any) -> None:
    """Ranks draw by position: sets that differ would be trained on in different orders."""
    lengths = all_gather_object(len(dataset))
    if len(set(lengths)) > 1:
        raise DataError(f"train_dataloader: ranks have sets of {lengths} samples. Give every machine the same files.")


def _end_with_the_run(schedulers: Any, max_steps: int) -> None:
    # Built after the loop. MMEngine's own default would be the end in micro-batches.
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        if isinstance(scheduler, dict) and not scheduler.get("by_epoch", True):
            begin = scheduler.get("begin", 0)
            scheduler.setdefault("end", max(max_steps, begin + 1))  # a short run may end before the schedule begins

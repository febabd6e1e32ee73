"""MMEngine's train loop, counted in optimizer steps and resumed without reading old data."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, barrier, broadcast_object_list, get_world_size, is_main_process
from mmengine.registry import LOOPS
from mmengine.runner import IterBasedTrainLoop
from mmengine.runner.loops import _InfiniteDataloaderIterator

from sa2va_native.engine.run.optimizer_steps import OptimizerSteps, accumulation_steps, just_stepped
from sa2va_native.engine.run.stopping import TimeLimit, ignore_sigterm, stop_signals
from sa2va_native.engine.run.undisturbed import undisturbed
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

    A signal or a time limit (``stopping.py``) stops the run on all ranks after the optimizer step at hand:
    :class:`StepCheckpointHook` saves it, and ``stopped`` says why.

    An evaluation changes nothing of what is trained after it, see :func:`undisturbed`. After it the hooks'
    ``after_evaluation(runner, metrics)`` is called. A run that is stopped at a step where one is due is not evaluated
    there.

    The run's seed becomes that of the batch sampler, the data set and the model, where they have one (an attribute
    ``seed``).

    Args:
        runner: MMEngine Runner or FlexibleRunner.
        dataloader: its batch sampler has an attribute ``start``.
        max_steps: optimizer steps to train for; each takes ``accumulation_steps`` micro-batches.
        val_begin: optimizer step from which on the run is evaluated.
        val_interval: optimizer steps between evaluations.
        max_hours: hours from the start of the process after which the run stops; None for no limit.

    Raises:
        ConfigError: a number below 1, or hours that are not positive; on resume, a batch sampler without ``start``; an
            evaluation on several ranks under ZeRO-3.
        DataError: ranks with data sets of different lengths.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: Any,
        max_steps: int,
        val_begin: int = 1,
        val_interval: int = 1000,
        max_hours: float | None = None,
    ) -> None:
        if min(max_steps, val_interval) < 1:
            raise ConfigError(f"train_cfg: max_steps={max_steps}, val_interval={val_interval}: at least 1 each.")
        if max_hours is not None and not max_hours > 0:
            raise ConfigError(f"train_cfg.max_hours={max_hours}: more than 0, or None for no limit.")
        # Under `xtuner train --deepspeed` XTuner chooses the strategy, and no code of ours runs before this.
        adopt_strategy(getattr(runner, "strategy", None))
        settle_runner(runner)
        end_with_the_run(runner.param_schedulers, max_steps)
        counts = accumulation_steps(runner)
        if isinstance(dataloader, dict):
            each_rank_its_own = runner._randomness_cfg.get("diff_rank_seed", False)
            dataloader = runner.build_dataloader(dataloader, seed=runner.seed, diff_rank_seed=each_rank_its_own)
        if stop_signals.listening:
            dataloader.worker_init_fn = partial(ignore_sigterm, dataloader.worker_init_fn)
        super().__init__(
            runner,
            dataloader,
            max_iters=max_steps * counts,
            val_begin=val_begin * counts,
            val_interval=val_interval * counts,
        )
        self.optimizer_steps = OptimizerSteps(runner)
        self.time_limit = TimeLimit(max_hours)
        self.stopped: str | None = None  #: what stopped the run before its last step

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
        if self._iter >= self._max_iters:
            self.runner.logger.info(
                f"The run is finished: {self._max_iters // accumulation_steps(self.runner)} steps are done, and there "
                "is nothing to do. It goes on with a larger --max-steps."
            )
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        stop_signals.can_finish = True
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._decide_current_val_interval()
            if self.runner.val_loop is not None and self._val_is_due() and not self.stopped:
                with undisturbed(model):
                    figures = self.runner.val_loop.run()
                self.runner.call_hook("after_evaluation", metrics=figures or {})
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        if self.stopped and is_main_process():
            print(f"\n{self._how_it_stopped()}", file=sys.stderr, flush=True)
        barrier()  # a launcher may end the others as soon as one has ended
        return self.runner.model

    def run_iter(self, data_batch: Any) -> None:
        """One micro-batch, with the optimizer step where it ends an accumulation window."""
        self.runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=data_batch)
        outputs = self.runner.model.train_step(data_batch, optim_wrapper=self.optimizer_steps)
        if just_stepped(self.runner) and self._iter + 1 < self._max_iters:
            self.stopped = self._agree_to_stop()
            self.stop_training |= self.stopped is not None
        self.runner.call_hook("after_train_iter", batch_idx=self._iter, data_batch=data_batch, outputs=outputs)
        self._iter += 1

    def _agree_to_stop(self) -> str | None:
        """What asks any rank to stop. A collective; the same on all ranks."""
        asked = stop_signals.received or self.time_limit.reached()
        flag = torch.tensor(float(asked is not None))
        all_reduce(flag, "max")
        return next(filter(None, all_gather_object(asked)), None) if flag else None

    def _how_it_stopped(self) -> str:
        counts = accumulation_steps(self.runner)
        where = f"Stopped by {self.stopped} after step {self._iter // counts} of {self._max_iters // counts}"
        newest = Path(self.runner.message_hub.get_info("last_ckpt") or "")
        if newest.name == f"iter_{self._iter}.pth":
            return f"{where}: {newest} is written. Continue with --resume."
        return f"{where}: nothing was saved, as no hook does or the last loss was not finite."

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


def end_with_the_run(schedulers: Any, max_steps: int) -> None:
    """Gives schedules without an end that of the run; MMEngine's own default would be the end in micro-batches."""
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        if isinstance(scheduler, dict) and not scheduler.get("by_epoch", True):
            begin = scheduler.get("begin", 0)
            scheduler.setdefault("end", max(max_steps, begin + 1))  # a short run may end before the schedule begins

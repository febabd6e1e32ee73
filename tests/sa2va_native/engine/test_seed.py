"""The run's seed reaches everything that draws."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.parallel.unwrap import unwrap_model
from tests.ranks import run_ranks
from tests.toy import ToyBatches, ToyData, ToyModel, toy_config


class SeededModel(ToyModel):
    """Remembers what it was shown."""

    seed = 0

    def forward(self, x: torch.Tensor, y: torch.Tensor, mode: str = "tensor") -> Any:
        self.shown = [*getattr(self, "shown", ()), x[:, 0].tolist()]
        return super().forward(x, y, mode)


class SeededData(ToyData):
    """Values are moved up by the seed."""

    seed = 0

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        item = super().__getitem__(index)
        return {**item, "x": item["x"] + self.seed}


class SeededBatches(ToyBatches):
    """The order begins at item ``seed``."""

    seed = 0

    def __iter__(self) -> Iterator[list[int]]:
        for batch in super().__iter__():
            yield [(item + self.seed) % 64 for item in batch]


def _train(work_dir: Path, seed: int, workers: int, stage: int, resume: str | None) -> tuple[int, list]:
    cfg = toy_config(work_dir, 4 if resume is not None else 2, batch_size=2, checkpoint_interval=2)
    cfg.launcher = "pytorch"
    cfg.randomness.diff_rank_seed = True
    cfg.model.type, cfg.train_dataloader.batch_sampler.type = f"{__name__}.SeededModel", f"{__name__}.SeededBatches"
    cfg.train_dataloader.dataset.type = f"{__name__}.SeededData"
    cfg.randomness.seed, cfg.train_dataloader.num_workers = seed, workers
    cfg.train_dataloader.persistent_workers = workers > 0  # they start before the seed is known
    launch.use_checkpoint(cfg, resume, None)
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)
    runner.train()
    model: Any = unwrap_model(runner.model)
    return model.seed, model.shown


@pytest.mark.parametrize(("workers", "stage"), [(0, 0), (1, 0), (0, 2)])
def test_the_runs_seed_is_that_of_sampler_data_and_model(tmp_path: Path, workers: int, stage: int) -> None:
    """Red when ``--seed`` only seeds the global generators, or when ranks with dropout of their own draw apart."""
    joint = (ToyData().x[9 : 9 + 16, 0] + 9).reshape(4, 4)
    for resume, steps in ((None, slice(0, 2)), ("", slice(2, 4))):
        for rank, (seed, shown) in enumerate(run_ranks(2, _train, tmp_path, 9, workers, stage, resume)):
            assert seed == 9
            assert shown == joint[steps, 2 * rank : 2 * rank + 2].tolist()

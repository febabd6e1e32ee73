"""The frozen reader's copy is that of the start, also after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pseudo_gumbel.hooks.frozen_reader_hook import FrozenReaderHook
from pseudo_gumbel.readers import FrozenReader, StudentReader
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import ConfigError
from sa2va_native.parallel.unwrap import unwrap_model
from tests.ranks import run_ranks
from tests.toy import ToyModel, toy_config, whole_weights

HOOK = {"type": "FrozenReaderHook"}
assert FrozenReaderHook  # registered by its import


class Read(ToyModel):
    """A model with a reader."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.reader = FrozenReader()


def _train(work_dir: Path, stage: int, ranks: int, steps: int, resume: str | None) -> dict[str, Any]:
    cfg = toy_config(work_dir, steps, batch_size=4 // ranks, hooks=[dict(HOOK)], checkpoint_interval=2)
    cfg.model.type = f"{__name__}.Read"
    cfg.launcher = "pytorch"
    launch.use_checkpoint(cfg, resume, None)
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)
    runner.train()
    return {"frozen": unwrap_model(runner.model).reader.weights.state_dict(), "student": whole_weights(runner)}


@pytest.mark.parametrize(("stage", "ranks"), [(0, 1), (2, 2), (3, 2)])
def test_the_copy_is_of_the_start_also_after_a_restart(tmp_path: Path, stage: int, ranks: int) -> None:
    """Red when it follows the student, or a resumed run freezes the weights that it resumes with."""
    start = dict(Read().named_parameters())
    for steps, resume in ((2, None), (4, "")):
        for rank in run_ranks(ranks, _train, tmp_path, stage, ranks, steps, resume):
            assert not torch.equal(rank["student"]["adapter.weight"], start["adapter.weight"])
            for name, tensor in rank["frozen"].items():
                assert torch.equal(tensor, start[name].detach()), name


def test_a_copy_that_nobody_reads_with_is_refused() -> None:
    """Red when the hook fills the memory with weights for another reader."""
    model = Read()
    model.reader = StudentReader()  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"model\.reader=StudentReader"):
        FrozenReaderHook().make(model)

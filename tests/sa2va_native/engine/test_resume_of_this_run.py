"""Resuming goes on with this run, from one checkpoint on all ranks, at the step where it stopped."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from sa2va_native.engine.checkpoints import checkpointing
from sa2va_native.engine.checkpoints.safe_load import load_file
from sa2va_native.engine.checkpoints.weights import read_weights, require_path
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import CheckpointError
from tests.ranks import run_ranks
from tests.toy import toy_config

SLOW = pytest.mark.slow


def _train(
    work_dir: Path, stage: int, steps: int, resume: str | None = None, log: str = "ERROR", **options: Any
) -> tuple[int, int, str]:
    """The iteration that a run began at, the one at its end, and what it logged."""
    cfg = toy_config(work_dir, steps, **{"batch_size": 2, "accumulation": 2, "checkpoint_interval": 1, **options})
    cfg.launcher = "pytorch"
    cfg.log_level = log
    launch.use_checkpoint(cfg, resume, None)
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    runner = launch.build_runner(cfg)
    said = io.StringIO()
    runner.logger.addHandler(logging.StreamHandler(said))
    began = Began()
    runner.register_hook(began)
    runner.train()
    return began.iteration, runner.iter, said.getvalue()


class Began(Hook):
    """Notes where a run begins."""

    def before_train(self, runner: Any) -> None:
        self.iteration = runner.iter


def _choose_apart(work_dir: Path, stage: int, rank_1_sees: int) -> int:
    import torch.distributed as dist

    find = checkpointing.find_latest_checkpoint

    def find_latest(work_dir: str, up_to: float = 100) -> str | None:
        return find(work_dir, up_to if dist.get_rank() == 0 else rank_1_sees)

    checkpointing.find_latest_checkpoint = find_latest
    return _train(work_dir, stage, 5, "")[0]


@pytest.mark.parametrize("stage", [0, pytest.param(2, marks=SLOW)])
def test_rank_0_chooses_for_all(tmp_path: Path, stage: int) -> None:
    """Rank 1 sees an older one, or none, as over a network. Red when ranks go on from different checkpoints."""
    run_ranks(2, _train, tmp_path, stage, 3)
    assert run_ranks(2, _choose_apart, tmp_path, stage, 2) == [6, 6]
    assert run_ranks(2, _choose_apart, tmp_path, stage, 0) == [10, 10]


@pytest.mark.parametrize(("first", "second"), [(0, 0), pytest.param(0, 2, marks=SLOW), pytest.param(2, 0, marks=SLOW)])
def test_a_new_run_in_a_used_work_dir(tmp_path: Path, first: int, second: int) -> None:
    """Red when the later iteration of another run is resumed, or a file meets a folder of the same name at a save."""
    run_ranks(1, _train, tmp_path, first, 4)
    _, _, said = run_ranks(1, _train, tmp_path, second, 2, None, "INFO")[0]
    assert sorted(path.name for path in tmp_path.glob("iter_*")) == ["iter_2.pth", "iter_4.pth"]
    (kept,) = (tmp_path / "earlier_runs").iterdir()
    assert sorted(path.name for path in kept.iterdir()) == [f"iter_{i}.pth" for i in (2, 4, 6, 8)]
    (line,) = [line for line in said.splitlines() if "earlier_runs" in line]
    assert f"They are now in {kept}" in line
    assert run_ranks(1, _train, tmp_path, second, 3, "")[0][:2] == (4, 6)
    assert run_ranks(1, _train, tmp_path, first, 5, str(kept))[0][:2] == (8, 10), "the earlier run can go on too"


@pytest.mark.slow
def test_a_run_keeps_its_identity_and_leaves_later_checkpoints_of_a_branch(tmp_path: Path) -> None:
    """Red when a resumed run is another one, or one that went back finds its own future."""

    def runs() -> dict[str, str]:
        return {path.name: load_file(path)["meta"]["run"]["id"] for path in tmp_path.glob("iter_*")}

    run_ranks(1, _train, tmp_path, 0, 3)
    assert run_ranks(1, _train, tmp_path, 0, 3, str(tmp_path / "iter_2.pth"))[0][0] == 2
    assert runs().keys() == {"iter_2.pth", "iter_4.pth", "iter_6.pth"}
    assert len(set(runs().values())) == 1
    assert len(list((tmp_path / "earlier_runs").rglob("iter_*"))) == 2


@pytest.mark.parametrize(
    "options",
    [{"accumulation": 3}, pytest.param({"accumulation": 1}, marks=SLOW), pytest.param({"batch_size": 4}, marks=SLOW)],
)
def test_another_step_without_deepspeed(tmp_path: Path, options: dict) -> None:
    """As with it. Red when a run counts the micro-batches of the one before, or its samples change without a word."""
    run_ranks(1, _train, tmp_path, 0, 2)
    accumulation = options.get("accumulation", 2)
    began, ended, said = run_ranks(1, _train_with, options, tmp_path, 0, 4, "", "INFO")[0]
    assert (began, ended) == (2 * accumulation, 4 * accumulation)
    samples = accumulation * options.get("batch_size", 2)
    assert f"A step of the checkpoint took 4 samples and one of this run takes {samples}, as the config says" in said
    assert run_ranks(1, _train_with, options, tmp_path, 0, 5, "")[0][0] == 4 * accumulation


def _train_with(options: dict, *args: Any) -> tuple[int, int, str]:
    return _train(*args, **options)


@pytest.mark.slow
def test_a_finished_run_says_so(tmp_path: Path) -> None:
    """Red when a run of the same number of steps ends at once without a word."""
    run_ranks(1, _train, tmp_path, 0, 2)
    assert "The run is finished: 2 steps are done" in run_ranks(1, _train, tmp_path, 0, 2, "", "INFO")[0][2]


def _checkpoint(path: Path, **content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def test_a_work_dir_can_be_resumed_and_says_what_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    newest = _checkpoint(tmp_path / "run/iter_4.pth", state_dict={})
    cfg = toy_config(tmp_path / "other")
    launch.use_checkpoint(cfg, str(newest.parent), None)
    assert (cfg.load_from, cfg.resume) == (str(newest), True)
    assert f"{newest} is taken, the newest checkpoint of {newest.parent}." in capsys.readouterr().err


def test_only_damaged_checkpoints_are_no_fresh_start(tmp_path: Path) -> None:
    """Red when days of training begin again without being asked for."""
    _checkpoint(tmp_path / "iter_4.pth").write_bytes(b"cut")
    with pytest.raises(CheckpointError, match=r"has no undamaged checkpoint of its last run, only iter_4.pth. Give"):
        launch.use_checkpoint(toy_config(tmp_path), "", None)


@pytest.mark.parametrize("name", ["weights.safetensors", "Sa2VA/model.safetensors.index.json", "sam2.pt"])
def test_published_weights_are_sent_to_their_option(tmp_path: Path, name: str) -> None:
    """Red when weights that --weights takes end in a traceback, or in an error about an iter_*.pth."""
    file = tmp_path / name
    _checkpoint(file, model={"x": torch.ones(1)})
    place = file.parent if "/" in name else file
    with pytest.raises(CheckpointError, match=f"--weights {place}"):
        read_weights(require_path(place))

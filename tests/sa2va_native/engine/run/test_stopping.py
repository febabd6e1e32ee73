"""A signal or a time limit stops a run after the optimizer step at hand, saved and on all ranks."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
import torch

from sa2va_native.engine.run.stopping import STOPPED, TimeLimit
from sa2va_native.files.paths import ROOT
from tests.ranks import Ended, call_tool
from tests.toy import ToyData

CONFIG = """
from mmengine.dataset import DefaultSampler
from mmengine.optim import LinearLR, OptimWrapper
from torch.optim import AdamW
from torch.utils.data import default_collate

from sa2va_native.engine.run.train_loop import TrainLoop
from sa2va_native.hooks.checkpoint_hook import StepCheckpointHook
from sa2va_native.hooks.logger_hook import StepLoggerHook
from sa2va_native.hooks.non_finite_loss_hook import NonFiniteLossHook
from sa2va_native.hooks.param_scheduler_hook import StepParamSchedulerHook
from sa2va_native.hooks.random_state_hook import RandomStateHook
from tests.sa2va_native.engine.run.test_stopping import SlowData
from tests.toy import ToyBatches, ToyModel

model = dict(type=ToyModel, dropout=0.5)
train_dataloader = dict(
    batch_size=1,
    num_workers=1,
    dataset=dict(type=SlowData),
    sampler=dict(type=DefaultSampler, shuffle=False),
    batch_sampler=dict(type=ToyBatches),
    collate_fn=dict(type=default_collate),
)
train_cfg = dict(type=TrainLoop, max_steps=500)
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=AdamW, lr=0.01), accumulative_counts=2)
param_scheduler = [dict(type=LinearLR, start_factor=0.5, end=8, by_epoch=False)]
default_hooks = dict(
    logger=dict(type=StepLoggerHook, interval=1),
    param_scheduler=dict(type=StepParamSchedulerHook),
    checkpoint=dict(type=StepCheckpointHook, interval=1000),
    random_state=dict(type=RandomStateHook),
    non_finite=dict(type=NonFiniteLossHook, patience=1000),
)
log_processor = dict(by_epoch=False)
env_cfg = dict(cudnn_benchmark=False)
randomness = dict(seed=3)
find_unused_parameters = True
"""


class SlowData(ToyData):
    """Twenty milliseconds a sample, so that there is a time in which to stop; endless from item ``stuck`` on."""

    def __init__(self, stuck: int = 10**9, slow_start: float = 0.0) -> None:
        super().__init__()
        time.sleep(slow_start)
        self.stuck = stuck

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        time.sleep(0.02 if index < self.stuck else 1000)
        return super().__getitem__(index)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "slow.py").write_text(CONFIG)
    return tmp_path / "slow.py"


def catches(process: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal: one that has just begun has none, however long that takes."""
    handled = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process}/status").read_text())
    return handled is not None and bool(int(handled[1], 16) >> (number - 1) & 1)


class Send:
    """Sends a signal to a rank that handles it, and to what it has forked, ``after`` seconds after some text."""

    def __init__(self, number: signal.Signals, text: str, after: float = 0.0, rank: int = 0, times: int = 1) -> None:
        self.number, self.text, self.after, self.rank, self.times = number, text, after, rank, times
        self.seen: float | None = None

    def __call__(self, ranks: list[int], printed: list[str]) -> None:
        if self.seen is None and self.text in printed[0] and catches(ranks[self.rank], self.number):
            self.seen = time.monotonic()
        if self.times and self.seen is not None and time.monotonic() - self.seen >= self.after:
            self.times -= 1
            process = ranks[self.rank]
            children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
            for one in [process, *map(int, children)]:
                os.kill(one, self.number)
            time.sleep(0.3)  # or the second is merged into the first


def train(config: Path, work_dir: Path, *arguments: object, ranks: int = 0, send: Send | None = None) -> list[Ended]:
    several = ("--launcher", "pytorch", "--deepspeed", "zero2", "--precision", "fp32") if ranks else ()
    start = (ROOT / "tools/train.py", config, "--work-dir", work_dir, *several, *arguments)
    return call_tool(*start, ranks=ranks, meanwhile=send)


def stopped_after(ended: list[Ended], work_dir: Path, why: str) -> int:
    """The step that all ranks stopped after; one of them says so in its last line, and only it is saved."""
    assert [one.status for one in ended] == [STOPPED] * len(ended), ended
    assert all("Traceback" not in one.output for one in ended), ended
    (line,) = [line for one in ended for line in one.output.splitlines() if "Stopped by" in line]
    assert ended[0].output.strip().endswith(line)
    step = int(re.search(r"after step (\d+) of 500", line)[1])
    newest = work_dir / f"iter_{2 * step}.pth"
    assert line == f"Stopped by {why} after step {step} of 500: {newest} is written. Continue with --resume."
    assert list(work_dir.glob("iter_*")) == [newest]
    return step


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """What a checkpoint holds of the model."""
    file = checkpoint / "mp_rank_00_model_states.pt" if checkpoint.is_dir() else checkpoint
    content = torch.load(file, weights_only=False)
    return content["module" if checkpoint.is_dir() else "state_dict"]


def resume_equals_the_whole_run(config: Path, folder: Path, step: int, ranks: int) -> None:
    """Two more steps from ``folder/cut``, and as many without a stop."""
    steps = ("--max-steps", step + 2)
    for name, arguments in (("cut", ("--resume",)), ("whole", ())):
        assert all(one.status == 0 for one in train(config, folder / name, *steps, *arguments, ranks=ranks))
    cut, whole = (weights(folder / name / f"iter_{2 * (step + 2)}.pth") for name in ("cut", "whole"))
    assert cut.keys() == whole.keys()
    assert all(torch.equal(cut[name], whole[name]) for name in cut)


@pytest.mark.parametrize(
    ("number", "ranks"), [(signal.SIGTERM, 0), pytest.param(signal.SIGUSR1, 2, marks=pytest.mark.slow)]
)
def test_a_signal_stops_all_ranks_after_the_step_and_the_run_resumes(
    config: Path, tmp_path: Path, number: signal.Signals, ranks: int
) -> None:
    """Sent to one rank and its loader's worker. Red when it kills a process, cuts a step, or nothing is saved."""
    send = Send(number, " 4/1000]", rank=max(0, ranks - 1))
    step = stopped_after(train(config, tmp_path / "cut", ranks=ranks, send=send), tmp_path / "cut", number.name)
    assert step >= 2
    resume_equals_the_whole_run(config, tmp_path, step, ranks)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [0, 2])
def test_a_signal_at_any_moment(config: Path, tmp_path: Path, ranks: int) -> None:
    """15 moments for one rank and 15 for two. Red when one of them cuts a step or a checkpoint."""
    draw = random.Random(ranks)
    for trial in range(15):
        number = draw.choice([signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
        folder = tmp_path / str(trial)
        send = Send(number, " 2/1000]", draw.uniform(0, 0.5), draw.randrange(max(1, ranks)))
        step = stopped_after(train(config, folder / "cut", ranks=ranks, send=send), folder / "cut", number.name)
        resume_equals_the_whole_run(config, folder, step, ranks)


def test_the_second_ctrl_c_ends_a_run_at_once(config: Path, tmp_path: Path) -> None:
    """Red when a run whose step cannot be finished cannot be ended either."""
    stuck = ("--cfg-options", "train_dataloader.dataset.stuck=4")
    send = Send(signal.SIGINT, " 4/1000]", times=2)
    (ended,) = train(config, tmp_path / "run", *stuck, send=send)
    assert ended.status == 128 + signal.SIGINT
    assert ended.output.strip().endswith("Ended at once by SIGINT: what was trained since the last checkpoint is lost.")


def test_a_signal_before_training_ends_at_once(config: Path, tmp_path: Path) -> None:
    """Red when a run that is still loading prints a traceback, or goes on."""
    slow = ("--cfg-options", "train_dataloader.dataset.slow_start=1000")
    (ended,) = train(config, tmp_path / "run", *slow, send=Send(signal.SIGTERM, "", after=2.0))
    assert ended.status == 128 + signal.SIGTERM
    assert ended.output.strip().endswith("Ended at once by SIGTERM: it had not begun to train.")


def test_no_step_in_doubt_is_saved(config: Path, tmp_path: Path) -> None:
    """Red when weights whose last loss was NaN are saved because the run was stopped."""
    bad = ("--cfg-options", f"model.bad_steps={list(range(1000))}")
    (ended,) = train(config, tmp_path / "run", *bad, send=Send(signal.SIGINT, " 4/1000]"))
    assert ended.status == STOPPED
    assert "nothing was saved, as no hook does or the last loss was not finite." in ended.output
    assert not list((tmp_path / "run").glob("iter_*"))


def test_max_hours(config: Path, tmp_path: Path) -> None:
    """Red when the option is not read, or leaves no checkpoint."""
    ended = train(config, tmp_path / "run", "--max-hours", 1e-7)
    assert stopped_after(ended, tmp_path / "run", "the limit of 1e-07 hours") == 1


def test_the_limit_of_a_slurm_job_leaves_room_to_save(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when a run goes on until Slurm kills it, or when five minutes are taken from a job of ten."""
    now = time.time()
    for left, reached in ((-1, True), (100, False), (8000, False)):
        monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(now + left)))
        assert bool(TimeLimit().reached()) == reached
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(now + 8000)))
    limit, clock = TimeLimit(), time.monotonic()
    for passed, reached in ((7600, False), (7800, True)):
        with monkeypatch.context() as later:
            later.setattr("time.monotonic", lambda at=clock + passed: at)
            assert bool(limit.reached()) == reached

"""Planning, resuming and doing runs; the commands are small Python processes, or the real ones (slow)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pseudo_gumbel.cli import experiment as command
from pseudo_gumbel.experiment.arms import Arm, find
from pseudo_gumbel.experiment.plan import numbers, plan, seconds_left
from pseudo_gumbel.experiment.pool import Pool
from pseudo_gumbel.experiment.results import read_runs
from pseudo_gumbel.experiment.runs import Run, RunFailed
from sa2va_native.errors import ConfigError
from sa2va_native.files.paths import ROOT

METRICS = {"checkpoint": None, "test/cycle_iou": 0.5, "test_heldout/cycle_iou": 0.25, "other/cycle_iou": 1.0}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return plan(find(["labelled"], ["core"]), ["shipped"], [3], ["test", "test_heldout"], tmp_path)[0]


class Commands:
    """Stands for a pool: notes what is called and leaves what the real commands would."""

    def __init__(self, run: Run) -> None:
        self.run, self.called = run, list[str]()

    def __call__(self, arguments: Sequence[str], log: Path) -> float:
        self.called.append(arguments[3])
        if arguments[3] == "train":
            (self.run.place / "train").mkdir()
            (self.run.place / "train/iter_200.pth").touch()
        else:
            (self.run.place / "metrics.json").write_text(json.dumps(METRICS))
        return 1.5


def test_the_plan_is_one_seed_of_all_before_the_next(tmp_path: Path) -> None:
    """Red when the order gives five seeds of one arm first, or evaluates the untrained base once a seed."""
    runs = plan(find(["base", "labelled", "soft_gumbel"], ["core"]), ["shipped", "partner"], [0, 1], ["test"], tmp_path)
    assert [run.name for run in runs] == [
        "shipped/base/seed_0",
        "partner/base/seed_0",
        "shipped/labelled/seed_0",
        "partner/labelled/seed_0",
        "partner/soft_gumbel/seed_0",
        "shipped/labelled/seed_1",
        "partner/labelled/seed_1",
        "partner/soft_gumbel/seed_1",
    ]
    with pytest.raises(ConfigError, match="Did you mean 'partner'"):
        plan([], ["partners"], [0], ["test"], tmp_path)


def test_numbers() -> None:
    """Red when a range leaves out its end, or a word is taken for none."""
    assert numbers("0-2,7,1") == [0, 1, 2, 7]
    with pytest.raises(ConfigError, match="--seeds a-b"):
        numbers("a-b")


def test_a_result_is_kept_and_the_checkpoint_is_not(run: Run) -> None:
    """Red when a finished run is not recognised, keeps its checkpoint, or mixes splits up."""
    commands = Commands(run)
    assert run.result() is None
    run.perform(commands)
    assert commands.called == ["train", "test"]
    result = run.result()
    assert result is not None
    assert result["metrics"] == {"test": {"cycle_iou": 0.5}, "test_heldout": {"cycle_iou": 0.25}}
    assert result["seconds"]["train_cpu"] == 1.5
    assert not list(run.place.rglob("iter_*"))
    run.perform(commands, keep=True)
    assert list(run.place.rglob("iter_*"))


@pytest.mark.parametrize("fault", ["cut", "other values", "other steps", "too few splits", "no stranger"])
def test_what_is_no_result_is_done_again(run: Run, fault: str) -> None:
    """Red when half a file, or the result of another definition, counts as this run's."""
    run.perform(Commands(run))
    again = run
    if fault == "cut":
        run.result_file.write_text(run.result_file.read_text()[:50])
    elif fault == "other values":
        again = replace(run, arm=run.arm.differing("labelled", "", {"optim_wrapper.optimizer.lr": 1.0}))
    elif fault == "other steps":
        again = replace(run, arm=replace(run.arm, steps=7))
    elif fault == "too few splits":
        again = replace(run, splits=("test", "val"))
    else:
        again = replace(run, controls=("stranger",))
    assert again.result() is None


def test_what_a_run_does_is_told_from_how_its_config_is_written(run: Run, tmp_path: Path) -> None:
    """Red when a changed base config goes unnoticed, or when a comment makes all published runs invalid."""
    base, child = tmp_path / "base.py", tmp_path / "child.py"
    inherits = "from mmengine.config import read_base\n\nwith read_base():\n    from .base import *\n"

    def definition(base_text: str, child_text: str) -> str:
        base.write_text(base_text)
        child.write_text(inherits + child_text)
        return replace(run, arm=replace(run.arm, config=str(child))).definition

    before = definition("a = 1\n", "b = 2\n")
    assert definition('"""Explained."""\n\n# why\na = 1\n', "b = 2  # why\n") == before
    assert definition("a = 3\n", "b = 2\n") != before
    assert definition("a = 1\n", "b = 4\n") != before


def test_a_report_reads_arms_as_they_are_today(run: Run) -> None:
    """Red when what an arm did before its values were changed is published as what it does now."""
    run.perform(Commands(run))
    assert [found["seed"] for found in read_runs(run.folder)] == [run.seed]
    for before in (run.arm.differing(run.arm.name, "", {"optim_wrapper.optimizer.lr": 1.0}), replace(run.arm, steps=7)):
        old = replace(run, arm=before)
        old.perform(Commands(old))
        assert read_runs(run.folder) == []


def test_leftovers_of_a_stopped_run_are_removed(run: Run) -> None:
    """Red when a run that was stopped is continued from, or evaluated with, a stale checkpoint."""
    (run.place / "train").mkdir(parents=True)
    stale = run.place / "train/iter_4.pth"
    stale.touch()
    with pytest.raises(FileExistsError):
        Commands(run)(["", "", "", "train"], Path())
    run.perform(Commands(run), keep=True)
    assert not stale.exists()


def test_commands_go_through_the_products_own_tools(run: Run, tmp_path: Path) -> None:
    """Red when base weights, seed or steps do not reach the training, or the base is trained."""
    train, test = replace(run, features=tmp_path, controls=("floor",)).commands()
    assert train is not None
    text = " ".join(train)
    assert "--seed 3 --max-steps 100" in text
    assert "sa2va_tiny.safetensors" in text
    assert f"--cfg-options model.feature_cache.folder={tmp_path}" in text
    assert test[:3] == ["test", str(run.place / "config.py"), str(run.place / "train")]
    assert test[-2:] == ["--controls", "floor"]
    assert "feature_cache" not in " ".join(test)
    base = replace(run, arm=find(["base"], ["core"])[0])
    assert base.commands()[0] is None
    assert str(base.place / "train") not in base.commands()[1]


def test_missing_configs_and_bases_are_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when an arm without its config ends the whole experiment at its turn instead of being named before."""
    assert run.missing() is None
    assert "sa2va_tinny" in str(replace(run, arm=Arm("x", "", "sa2va_tinny")).missing())
    monkeypatch.setitem(
        __import__("pseudo_gumbel.experiment.arms", fromlist=["BASES"]).BASES, "shipped", "no/such.file"
    )
    assert "no/such.file" in str(run.missing())


def test_the_time_left_goes_by_arm_then_by_steps(run: Run) -> None:
    """Red when a run of 1,000 steps is expected to take as long as one of 100, or jobs are not counted."""
    long = replace(run, arm=replace(run.arm, name="long", steps=1000))
    assert seconds_left([run], [], 2) is None
    assert seconds_left([run, long], [(run, 50.0), (run, 70.0)], 2) == pytest.approx((60 + 1000 * 120 / 200) / 2)


def test_a_failure_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    """Red when one failed run stops the rest, or its message lacks the end of its log."""
    pool, done = Pool(2), []

    def do(task: int) -> None:
        code = "raise SystemExit('no memory')" if task == 1 else "pass"
        pool.call([sys.executable, "-c", code], tmp_path / f"{task}.log")
        done.append(task)

    errors = {task: error for task, error in pool.map(do, range(4))}
    assert sorted(done) == [0, 2, 3]
    assert isinstance(errors.pop(1), RunFailed)
    assert set(errors.values()) == {None}
    assert "no memory" in (tmp_path / "1.log").read_text()


def test_each_command_has_one_thread_and_its_cpu_time(tmp_path: Path) -> None:
    """Red when runs side by side share threads, or waiting counts as work."""
    code = "import os, time; time.sleep(.2); print(os.environ['OMP_NUM_THREADS'], os.environ['PYTHONPATH'])"
    seconds = Pool(1).call([sys.executable, "-c", code], tmp_path / "log")
    threads, path = (tmp_path / "log").read_text().split()
    assert threads == "1"
    assert (Path(path.split(os.pathsep)[0]) / "pseudo_gumbel").is_dir()
    assert 0 < seconds < 0.2


def test_leaving_ends_the_commands(tmp_path: Path) -> None:
    """Red when Ctrl-C leaves trainings behind."""
    pool = Pool(2)
    sleep = f"import os, time; open(r'{tmp_path}/' + str(os.getpid()), 'w'); time.sleep(600)"

    def do(task: int) -> None:
        pool.call([sys.executable, "-c", "pass" if task == 0 else sleep], tmp_path / f"{task}.log")

    def interrupted() -> None:
        for _ in pool.map(do, range(3)):
            while len(started()) < 2:
                time.sleep(0.01)
            raise KeyboardInterrupt

    def started() -> list[str]:
        return [file.name for file in tmp_path.iterdir() if file.name.isdecimal()]

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    for pid in started():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
    with pytest.raises(RunFailed, match="stopped"):
        pool.call([sys.executable, "-c", "pass"], tmp_path / "late.log")


def test_a_dry_run_lists(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Red when the list does not say what is done already."""
    arguments = ["--arms", "labelled", "--bases", "shipped", "--seeds", "0-1", "--dry-run", "--controls"]
    arguments += ["--work-dir", str(tmp_path)]
    run = plan(find(["labelled"], ["core"]), ["shipped"], [1], ["test", "test_heldout"], tmp_path)[0]
    run.perform(Commands(run))
    assert command.experiment(command.parse_args(arguments, "x")) == 0
    shown = capsys.readouterr().out
    assert "2 runs, 1 done already, 1 to do" in shown
    assert [line.split()[0] for line in shown.splitlines()[:2]] == ["shipped/labelled/seed_0", "done"]


@pytest.mark.parametrize(
    "asked", [["--group", "core", "grid"], ["--group", "core", "--arms", "labelled/lr_*"], ["--splits", "test"]]
)
def test_no_schedule_is_chosen_on_a_test_split(asked: list[str]) -> None:
    """Red when the grid is evaluated on what the chosen arms are judged by later."""
    with pytest.raises(ConfigError, match=r"--splits test.* for .*/lr_.*validation"):
        command.planned(command.parse_args(["--group", "grid", *asked], "x"))
    runs = command.planned(command.parse_args(["--group", "grid"], "x"))
    assert {run.splits for run in runs} == {("val", "val_heldout")}


@pytest.mark.slow
def test_two_runs_end_to_end(tmp_path: Path) -> None:
    """Red when the tools refuse the generated config, or the second invocation repeats what is done.

    The features of the pictures are computed here, so it takes some minutes.
    """
    arguments = [sys.executable, "tools/experiment.py", "--arms", "labelled", "word_trials", "--bases", "shipped"]
    arguments += ["--seeds", "0", "--steps", "2", "--jobs", "2", "--splits", "test", "--controls"]
    arguments += ["--work-dir", str(tmp_path / "runs")]
    first = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "2 runs, 0 done already" in first
    results = [json.loads(file.read_text()) for file in sorted(tmp_path.rglob("result.json"))]
    assert [result["arm"] for result in results] == ["labelled", "word_trials"]
    assert all(0 < result["metrics"]["test"]["refer_ciou"] < 1 for result in results)
    assert all("--steps 2" in result["command"] for result in results)
    second = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "2 runs, 2 done already, 0 to do" in second

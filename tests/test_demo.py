"""What the demo runs, in which order, and what it says meanwhile. Nothing is trained here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pseudo_gumbel.experiment.arms import find
from pseudo_gumbel.experiment.plan import plan
from pseudo_gumbel.experiment.verdicts import TEST_SPLITS
from tools.demo import FEATURES, SHOWN, TRAINING, WORK, DemoRun, Progress, main, perform, planned, stages


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, DemoRun]:
    return planned(tmp_path / "demo", steps=100)


def test_runs_are_those_of_the_experiment(runs: dict[str, DemoRun], tmp_path: Path) -> None:
    """Red when the demo trains with other values, from another base or seed than the published results of an arm."""
    assert list(runs) == ["base", "labelled", "self_training", "specified", "soft_gumbel", "word_trials"]
    experiment = {run.arm.name: run for run in plan(find(None, ["core"]), ["partner"], [0], TEST_SPLITS, tmp_path)}
    for name, run in runs.items():
        assert run.definition == experiment[name].definition
        assert run.config() == experiment[name].config()
        assert run.splits == tuple(TEST_SPLITS)
        assert run.controls == ("floor", "ceiling", "stranger")
        assert run.missing() is None
    assert set(SHOWN) < set(runs)


def test_each_run_has_a_folder_that_people_find(runs: dict[str, DemoRun], tmp_path: Path) -> None:
    """Red when checkpoints lie elsewhere than the help says."""
    assert runs["word_trials"].place == tmp_path / "demo/word_trials"
    train, _ = runs["word_trials"].commands()
    assert train is not None
    assert train[train.index("--work-dir") + 1] == str(tmp_path / "demo/word_trials/train")


def test_features_come_first_and_the_longest_run_is_not_last(runs: dict[str, DemoRun]) -> None:
    """Red when a run trains before its features are there, or one core idles for the whole of the longest run."""
    first, then = stages(runs)
    assert first == [FEATURES, "base"]
    assert sorted(then) == sorted(set(runs) - {"base"})
    assert [WORK[name] for name in then] == sorted((WORK[name] for name in then), reverse=True)


def test_what_is_done_is_left_out(runs: dict[str, DemoRun]) -> None:
    """Red when a resumed demo computes features for nobody, or repeats a run."""
    assert stages(runs, [name for name in runs if name != "base"]) == [["base"]]
    assert stages(runs, ["base", "word_trials"])[0] == [FEATURES]
    assert "word_trials" not in stages(runs, ["base", "word_trials"])[1]
    assert stages(runs, list(runs)) == []


def test_progress_reads_the_logs(runs: dict[str, DemoRun], monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when a run that trains is said to start, or the time left is guessed from nothing."""
    progress = Progress(runs, ["word_trials", "labelled"])
    progress.running = {"word_trials": None}
    assert progress.says().endswith("word_trials starts")
    runs["word_trials"].place.mkdir(parents=True)
    log = runs["word_trials"].place / "train.log"
    log.write_text("Iter(train) [ 10/200]  lr: 1\nIter(train) [100/200]  lr: 1\n")
    now = progress.start
    monkeypatch.setattr("time.monotonic", lambda: now + 599.7)
    said = progress.says()
    assert "9:59  word_trials micro-batch 100/200; about " in said
    # Half of the training took ten minutes.
    done = 0.5 * TRAINING * WORK["word_trials"]
    left = 10 * ((WORK["word_trials"] + WORK["labelled"]) / done - 1)
    assert said.endswith(f"about {left:.0f} min left")
    (log.parent / "test.log").touch()
    assert "word_trials is evaluated" in progress.says()


def test_a_failing_command_shows_the_end_of_its_log(
    runs: dict[str, DemoRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when the demo goes on to its report after a failure, or hides why it failed."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho no memory left\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(SystemExit, match=r"no memory left\n.*exit status 3(.|\n)*failed"):
        perform(runs, 1, [])
    assert not (tmp_path / "demo/report.md").exists()


@pytest.mark.parametrize("arguments", [["--steps", "0"], ["--jobs", "0"], ["--ranks", "2"]])
def test_options_that_make_no_sense_end_with_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Red when a demo of no steps begins."""
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage:" in capsys.readouterr().err

"""A thousand random damages to the newest checkpoint: each is found and said, and the one before is taken."""

from __future__ import annotations

import io
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.checkpoint_damage import damage, falls_back
from sa2va_native.engine.checkpoints import checkpointing
from sa2va_native.engine.checkpoints.atomic_backend import AtomicBackend
from sa2va_native.engine.checkpoints.checkpointing import (
    commit_folder,
    find_latest_checkpoint,
    put_beside,
    unfinished_folder,
)

PARTS = (
    "mp_rank_00_model_states.pt",
    "zero_pp_rank_0_mp_rank_00_optim_states.pt",
    "zero_pp_rank_1_mp_rank_00_optim_states.pt",
)


def write(path: Path, run: str | None, saved: int) -> Path:
    """A checkpoint of a run without DeepSpeed, as it is written now; as it was written before if ``run`` is None."""
    content = {"state_dict": {"weight": torch.arange(3000.0) + saved}, "meta": {"iter": 1}}
    about = {"run": run, "step": 1, "saved": saved}
    path.parent.mkdir(parents=True, exist_ok=True)
    if run is None:
        torch.save(content, path)
    else:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        AtomicBackend(about).put(buffer.getvalue(), path)
    return path


def write_folder(path: Path, run: str, saved: int) -> Path:
    """One of two ranks under ZeRO-2."""
    unfinished = unfinished_folder(path)
    unfinished.mkdir(parents=True)
    for number, name in enumerate(PARTS):
        torch.save({"flat": torch.arange(1000.0) + number, "meta": {"iter": 1}}, unfinished / name)
    commit_folder(unfinished, path, {"run": run, "step": 1, "saved": saved})
    return path


@pytest.mark.parametrize("kind", [write, write_folder])
def test_every_damage_is_found(tmp_path: Path, kind: Callable, said: list[str]) -> None:
    """Red when one flipped bit, a hole, a lost part or a changed seal is taken in silence, or ends in a traceback."""
    before, newest = kind(tmp_path / "run/iter_2.pth", "a", 1), kind(tmp_path / "whole/iter_4.pth", "a", 2)
    copy, draw = tmp_path / "run/iter_4.pth", random.Random(0)
    missed = []
    for _ in range(500):
        said.clear()
        shutil.copytree(newest, copy) if newest.is_dir() else shutil.copy2(newest, copy)
        what = damage(copy, draw)
        if wrong := falls_back(tmp_path / "run", before):
            missed.append(f"{what}: {wrong}")
        assert len(said) == 1, what
        shutil.rmtree(copy) if copy.is_dir() else copy.unlink()
    assert not missed


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged meanwhile; MMEngine's logger keeps the stream that it began with."""
    lines: list[str] = []
    monkeypatch.setattr(checkpointing, "print_log", lambda text, *_, **__: lines.append(text))
    return lines


def test_damage_is_said_in_one_line(tmp_path: Path, said: list[str]) -> None:
    """Red when an older checkpoint is taken without a word."""
    before, newest = write(tmp_path / "iter_2.pth", "a", 1), write(tmp_path / "iter_4.pth", "a", 2)
    newest.write_bytes(newest.read_bytes().replace(b"weight", b"weighs"))
    assert find_latest_checkpoint(tmp_path) == str(before)
    (line,) = said
    assert line.endswith("(iter_4.pth has bytes that do not match its checksum); trying the one before.")


def test_the_newest_is_that_of_the_run_that_saved_last(tmp_path: Path, said: list[str]) -> None:
    """Red when a run goes on from another one's checkpoint, because that has a larger number."""
    write(tmp_path / "iter_8.pth", "a", 8)
    write(tmp_path / "iter_2.pth", "b", 9)
    newest = write(tmp_path / "iter_4.pth", "b", 10)
    assert find_latest_checkpoint(tmp_path) == str(newest)
    assert "holds checkpoints of 2 runs. iter_4.pth is taken" in said[0]
    newest.write_bytes(newest.read_bytes()[:-1])
    assert find_latest_checkpoint(tmp_path) == str(tmp_path / "iter_2.pth"), "not the other run's"


def test_a_later_checkpoint_with_a_smaller_number_is_newer(tmp_path: Path) -> None:
    """A step may take fewer micro-batches after a resume. Red when the run goes back to a step it has passed."""
    write(tmp_path / "iter_8.pth", "a", 8)
    newest = write(tmp_path / "iter_5.pth", "a", 9)
    assert find_latest_checkpoint(tmp_path) == str(newest)


def test_a_run_puts_beside_what_it_does_not_go_on_from(tmp_path: Path) -> None:
    """Red when another run's checkpoint, or a later one of an abandoned branch, stays to be resumed or overwritten."""
    for number, run, saved in ((2, "a", 2), (4, "a", 4), (6, "a", 6), (8, "b", 1), (10, None, 1)):
        write(tmp_path / f"iter_{number}.pth", run, saved)
    write_folder(tmp_path / "iter_12.pth", "c", 3)
    damaged = write(tmp_path / "iter_14.pth", "a", 7)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    place = put_beside(tmp_path, "a", 4, 4)
    assert sorted(path.name for path in tmp_path.glob("iter_*")) == ["iter_2.pth", "iter_4.pth"]
    assert sorted(path.name for path in place.iterdir()) == [f"iter_{number}.pth" for number in (10, 12, 14, 6, 8)]
    assert put_beside(tmp_path, "a", 4, 4) is None
    assert put_beside(tmp_path, "new", 0, 0) != place, "a place of its own"


def test_an_unnamed_run_goes_on_from_its_own(tmp_path: Path) -> None:
    """Checkpoints of earlier versions. Red when resuming one moves the ones before it."""
    for number in (2, 4, 6):
        write(tmp_path / f"iter_{number}.pth", None, 0)
    put_beside(tmp_path, None, 0, 4)
    assert sorted(path.name for path in tmp_path.glob("iter_*")) == ["iter_2.pth", "iter_4.pth"]

"""A checkpoint that would run code is refused before anything in it runs."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub

from sa2va_native.engine.checkpoints.checkpointing import find_latest_checkpoint, require_checkpoint
from sa2va_native.engine.checkpoints.safe_load import load_file
from sa2va_native.engine.checkpoints.weights import load_weights, read_weights
from sa2va_native.errors import CheckpointError
from tests.ranks import run_ranks
from tests.sa2va_native.engine.test_resume import train
from tests.toy import ToyModel


class Trap:
    """Touches a file as soon as it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.path,)


def test_the_trap_works(tmp_path: Path) -> None:
    """What the other tests rely on."""
    torch.save(Trap(tmp_path / "sprung"), tmp_path / "x.pth")
    torch.load(tmp_path / "x.pth", weights_only=False)
    assert (tmp_path / "sprung").exists()


def _set_trap(file: Path, sprung: Path) -> None:
    state = torch.load(file, weights_only=False)
    state["meta" if "meta" in state else "more"] = Trap(sprung)
    torch.save(state, file)
    (file.parent / "manifest.json").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        (0, "iter_4.pth"),
        (2, "iter_4.pth/mp_rank_00_model_states.pt"),
        (2, "iter_4.pth/zero_pp_rank_1_mp_rank_00_optim_states.pt"),
        (3, "iter_4.pth/zero_pp_rank_1_mp_rank_00_model_states.pt"),
        (3, "iter_4.pth/zero_pp_rank_0_mp_rank_00_optim_states.pt"),
    ],
)
def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path, stage: int, file: str) -> None:
    """Red when any way into a run unpickles freely: --load-from, evaluation, --resume with and without a path."""
    work_dir, sprung = tmp_path / "run", tmp_path / "sprung"
    run_ranks(2, train, work_dir, stage, 2, None)
    _set_trap(work_dir / file, sprung)
    path = work_dir / "iter_4.pth"
    ways: list[Callable[[], Any]] = [
        lambda: require_checkpoint(path),
        lambda: find_latest_checkpoint(work_dir),
        lambda: load_file(work_dir / file),
    ]
    if "zero_pp_rank_1_mp_rank_00_model_states" not in file:  # those of rank 0 are enough for the weights
        ways.append(lambda: load_weights(ToyModel(), path))
    for way in ways:
        with pytest.raises(CheckpointError, match=rf"{Path(file).name} holds posix\.mkdir, which no checkpoint needs"):
            way()
    with pytest.raises(RuntimeError, match=r"holds posix\.mkdir, which no checkpoint needs"):
        run_ranks(2, train, work_dir, stage, 4, "")
    assert not sprung.exists()


def _resume_past_the_check(work_dir: Path, stage: int) -> None:
    import sa2va_native.engine.checkpoints.checkpointing as checkpointing

    checkpointing.require_known_contents = lambda path: None
    train(work_dir, stage, 4, "")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["model", "optim"])
def test_the_engine_itself_does_not_unpickle_freely(tmp_path: Path, kind: str) -> None:
    """Red when the check at the door is all there is: XTuner's command comes in by another one."""
    run_ranks(2, train, tmp_path / "run", 3, 2, None)
    _set_trap(tmp_path / f"run/iter_4.pth/zero_pp_rank_1_mp_rank_00_{kind}_states.pt", tmp_path / "sprung")
    with pytest.raises(RuntimeError):  # rank 0 may only find the other one gone
        run_ranks(2, _resume_past_the_check, tmp_path / "run", 3)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("stage", [0, 2])
def test_the_config_text_of_a_checkpoint_is_not_executed(tmp_path: Path, stage: int) -> None:
    """MMEngine executes the config that a checkpoint to resume brings along, as Python."""
    work_dir, sprung = tmp_path / "run", tmp_path / "sprung"
    run_ranks(1, train, work_dir, stage, 2, None)
    file = work_dir / ("iter_4.pth/mp_rank_00_model_states.pt" if stage else "iter_4.pth")
    state = torch.load(file)
    state["meta"]["config"] = f"__import__('os').mkdir({str(sprung)!r})"
    torch.save(state, file)
    (work_dir / "iter_4.pth/manifest.json").unlink() if stage else None
    run_ranks(1, train, work_dir, stage, 4, "")
    assert not sprung.exists()


def test_an_operation_that_hides_its_global_is_refused(tmp_path: Path) -> None:
    """Protocol 4 takes the name of a global from the stack, where no list shows it."""
    sprung = tmp_path / "sprung"
    torch.save({"x": Trap(sprung)}, tmp_path / "x.pth", pickle_protocol=4)
    with pytest.raises(CheckpointError, match=r"x.pth is not a file that torch.save writes"):
        load_file(tmp_path / "x.pth")
    (tmp_path / "y.pth").write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(CheckpointError, match=r"y.pth is not a file that torch.save writes"):
        load_file(tmp_path / "y.pth")
    assert not sprung.exists()


def test_log_history_of_other_tools_is_passed_over(tmp_path: Path) -> None:
    """Red when weights next to MMEngine's own log history, which names ``getattr``, cannot be had; or it is built."""
    hub = MessageHub("safe_load")
    hub.update_scalar("train/loss", np.float64(1.5))
    weights = ToyModel().state_dict()
    torch.save({"state_dict": weights, "message_hub": hub.state_dict()}, tmp_path / "iter_1.pth")
    got = read_weights(tmp_path / "iter_1.pth")
    assert all(torch.equal(got[name], weights[name]) for name in weights)
    history = load_file(tmp_path / "iter_1.pth")["message_hub"]["log_scalars"]["train/loss"]
    assert vars(history) == {}

"""Several machines without Slurm, each played by a launcher on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
import torch

from sa2va_native.engine.checkpoints.weights import read_weights
from sa2va_native.files.paths import ROOT
from tests.test_wheel import small

pytestmark = pytest.mark.slow


def start(work_dir: Path, cache: Path, ranks: int, **variables: object) -> subprocess.Popen[str]:
    """A launcher: two steps of the specified method in float32, two samples a rank."""
    options = ["train_dataloader.batch_size=2", *small("train_dataloader", 2)]
    command = ["tools/dist_train.sh", "pseudo_gumbel_tiny", str(ranks), "--work-dir", str(work_dir)]
    command += ["--max-steps", "2", "--precision", "fp32", "--cfg-options", *options]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MASTER_", "NNODES", "NODE_"))}
    env |= {"OMP_NUM_THREADS": "1", "PSEUDO_GUMBEL_CACHE": str(cache), "GLOO_SOCKET_IFNAME": "lo"}
    env |= {name: str(value) for name, value in variables.items()}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end(*launchers: subprocess.Popen[str], status: int = 0) -> str:
    """What they printed."""
    printed = [launcher.communicate(timeout=900)[0] for launcher in launchers]
    assert {launcher.returncode for launcher in launchers} == {status}, "\n".join(printed)
    return "\n".join(printed)


def two_machines(work_dirs: tuple[Path, Path], cache: Path) -> list[subprocess.Popen[str]]:
    meeting = dict(NNODES=2, MASTER_ADDR="127.0.0.1", PORT=free_port())
    return [start(work_dirs[number], cache, 1, NODE_RANK=number, **meeting) for number in (0, 1)]


def test_two_machines_of_a_rank_train_what_one_of_two_ranks_does(tmp_path: Path) -> None:
    """Bit for bit. Red when each trains alone, both are rank 0, or a checkpoint lacks the other one's part.

    Red, too, when one that waits for the other does not say so.
    """
    cache = tmp_path / "cache"
    end(start(tmp_path / "one", cache, 2))
    printed = end(*two_machines((tmp_path / "two", tmp_path / "two"), cache))
    assert all(f"machine {number} of 2 waits for the others at 127.0.0.1:" in printed for number in (0, 1))
    one, two = (read_weights(str(tmp_path / name / "iter_4.pth")) for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_machines_without_a_common_folder_are_refused(tmp_path: Path) -> None:
    """Red when each writes its part of a checkpoint into a folder of its own, so that none is whole."""
    printed = end(*two_machines((tmp_path / "a", tmp_path / "b"), tmp_path / "cache"), status=1)
    assert "is another folder on rank 1 than on rank 0. Choose one that all machines share" in printed

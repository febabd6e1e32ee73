"""The command-line tools: what a user types, and the message when it cannot work."""

from __future__ import annotations

import os
import runpy
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from torch.distributed import TCPStore

import tests.toy  # noqa: F401  both imported here, so that forks need not
from sa2va_native.engine.run.launch import run_tool
from tests.ranks import call_tool

ROOT = Path(__file__).resolve().parents[3]

CONFIG = """
from mmengine.config import read_base

with read_base():
    from ..{relative} import *

from mmengine.dataset import DefaultSampler
from mmengine.optim import OptimWrapper
from torch.optim import AdamW
from torch.utils.data import default_collate

from sa2va_native.engine.run.train_loop import TrainLoop
from tests.toy import ToyBatches, ToyData, ToyModel

model = dict(type=ToyModel)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    dataset=dict(type=ToyData),
    sampler=dict(type=DefaultSampler, shuffle=False),
    batch_sampler=dict(type=ToyBatches),
    collate_fn=dict(type=default_collate),
)
train_cfg = dict(type=TrainLoop, max_steps=4)
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=AdamW, lr=0.01), accumulative_counts=2)
default_hooks["checkpoint"]["interval"] = 2
default_hooks["logger"]["interval"] = 1
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A lazy config on the project's runtime; a copy of it, as lazy bases are named relative to the file."""
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "default_runtime.py").write_text(
        (ROOT / "configs" / "_base_" / "default_runtime.py").read_text()
    )
    path = tmp_path / "mine" / "toy.py"
    path.parent.mkdir()
    path.write_text(CONFIG.format(relative="bases.default_runtime"))
    return path


def call(*command: object, status: int = 0) -> str:
    """Output of a tool, both streams; fails if it ends with another status."""
    bin_dir = str(Path(sys.executable).parent)
    env = {
        **os.environ,
        "PATH": f"{bin_dir}:{os.environ['PATH']}",
        "VIRTUAL_ENV": sys.prefix,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env, timeout=300)
    output = done.stdout + done.stderr
    assert done.returncode == status, output
    return output


@pytest.mark.slow  # imports in four processes
def test_dist_train_trains_two_ranks_and_resumes(config: Path, tmp_path: Path) -> None:
    """Two ranks, ZeRO-2, bf16; then `--resume` goes on at the last checkpoint."""
    work_dir = tmp_path / "run"
    tool = ROOT / "tools" / "dist_train.sh"
    output = call(tool, config, 2, "--work-dir", work_dir, "--max-steps", 2)
    assert "Iter(train) [4/4]" in output
    assert [path.name for path in work_dir.glob("iter_*")] == ["iter_4.pth"]
    output = call(tool, config, 2, "--work-dir", work_dir, "--resume")
    assert "resumed epoch: 0, iter: 4" in output
    assert "Iter(train) [6/8]" in output
    assert "Iter(train) [2/8]" not in output
    assert "eta" in output
    assert list(work_dir.glob("*/vis_data/events.out.tfevents.*")), "no TensorBoard scalars"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.py", "2"], "config missing.py does not exist"),
        (["{config}", "two"], "number of ranks 'two' is not a positive integer"),
        (["{config}", "0"], "number of ranks '0' is not a positive integer"),
    ],
)
def test_dist_train_says_what_is_wrong(config: Path, arguments: list[str], message: str) -> None:
    arguments = [argument.format(config=config) for argument in arguments]
    assert message in call(ROOT / "tools" / "dist_train.sh", *arguments, status=1)


@pytest.mark.parametrize("tool", ["dist_train.sh", "slurm_train.sh"])
def test_shell_tools_explain_themselves(tool: str) -> None:
    assert "examples:" in call(ROOT / "tools" / tool, "--help") or "example:" in call(ROOT / "tools" / tool, "-h")
    assert "usage:" in call(ROOT / "tools" / tool, status=2)


def test_the_seed_of_the_command_line_is_the_runs(config: Path, tmp_path: Path) -> None:
    """Red when it is parsed and ignored."""
    tool, work_dir = ROOT / "tools" / "train.py", tmp_path / "run"
    (ended,) = call_tool(tool, config, "--work-dir", work_dir, "--max-steps", 1, "--seed", 5)
    assert ended.status == 0, ended.output
    assert Config.fromfile(work_dir / "toy.py").randomness.seed == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.py"], "ConfigError: config missing.py does not exist"),
        (["{config}", "--ranks", "4"], "ConfigError: 4 ranks were requested and 1 started"),
        (["{config}", "--work-dir", "/proc/nowhere"], "ConfigError: work dir /proc/nowhere is not writable"),
        (["{config}", "--deepspeed", "zero9"], "ConfigError: --deepspeed zero9: no such json"),
        (["{config}", "--cfg-options", "model.droput=1"], "Did you mean 'dropout'?"),
        (["{config}", "--resume", "nowhere.pth"], "CheckpointError: checkpoint nowhere.pth does not exist"),
    ],
)
def test_known_errors_are_one_line(
    config: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Red when a user meets a traceback for a mistake that has a name."""
    arguments = [argument.format(config=config) for argument in arguments]
    if "--work-dir" not in arguments:
        arguments += ["--work-dir", str(tmp_path / "run")]
    pid = os.fork()  # the imports of a new process would take most of the time
    if pid == 0:
        sys.argv = [str(ROOT / "tools" / "train.py"), *arguments]
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        finally:
            os._exit(99)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    output = capfd.readouterr().err
    assert message in output
    assert "Traceback" not in output


def test_a_rank_that_meets_a_dead_one_says_no_more_than_that(capfd: pytest.CaptureFixture[str]) -> None:
    """Killed while it kept the store by which ranks meet. Red when the other blames its settings: "Broken pipe"."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    heard, told = os.pipe()
    if not (first := os.fork()):
        store = TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
        os.write(told, b"x")
        signal.pause()
    assert os.read(heard, 1)
    store = TCPStore("127.0.0.1", port, is_master=False)
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    if not (second := os.fork()):
        run_tool(lambda: [store.set("a", "b") for _ in range(10)], debug=False, began=lambda: False)
        os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]) == 1
    assert "stopped, because another rank did; its message says why" in capfd.readouterr().err

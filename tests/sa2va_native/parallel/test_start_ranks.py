"""The launcher of one machine: what ranks are told, how they end, and what it says of that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sa2va_native.files.paths import ROOT

LAUNCHER = """
import sys
from sa2va_native.parallel import start_ranks
start_ranks._PATIENCE = 1.0
sys.exit(start_ranks.start_ranks([sys.executable, "-c", sys.argv[1]], 2, 29999, in_order=75))
"""
#: ``say`` writes a line at once, so that two ranks do not write into each other's, whatever Python's buffering.
RANK = """
import os, signal, sys, time
rank = int(os.environ['RANK'])
say = lambda text: os.write(1, f"{text}\\n".encode())
"""


def start(rank: str) -> subprocess.Popen[str]:
    """The launcher with two ranks that run a piece of Python."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "projects")}
    command = [sys.executable, "-c", LAUNCHER, RANK + rank]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def is_alive(process: int) -> bool:
    """Whether it runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("rank", "status", "said"),
    [
        ("", 0, ""),
        ("sys.exit(75)", 75, ""),
        ("sys.exit(3 * rank)", 3, ""),
        ("time.sleep(0 if rank else 1000); sys.exit(1)", 1, ""),
        ("os.kill(os.getpid(), signal.SIGKILL) if rank else sys.exit(0)", 137, "rank 1 was killed by SIGKILL\n"),
    ],
    ids=["well", "stopped", "failed", "other-hangs", "killed"],
)
def test_the_status_is_that_of_the_rank_that_failed(rank: str, status: int, said: str) -> None:
    """Red when a failure is lost, a rank that waits for a dead one keeps the launcher, or a kill is not told."""
    launcher = start(rank)
    _, errors = launcher.communicate(timeout=120)
    assert (launcher.returncode, errors) == (status, said)


def test_ranks_are_told_who_they_are() -> None:
    """Red when two ranks take themselves for the same."""
    told = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    output, _ = start(f"say(' '.join(os.environ[name] for name in {told}))").communicate(timeout=120)
    assert sorted(output.splitlines()) == [f"{rank} {rank} 2 2 127.0.0.1 29999" for rank in (0, 1)]


def test_ranks_of_a_second_machine_go_on_counting() -> None:
    """Red when both machines have a rank 0, or a rank looks for a GPU that only the whole run has."""
    told = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    code = RANK + f"say(' '.join(os.environ[name] for name in {told}))"
    launcher = LAUNCHER.replace("in_order=75", "in_order=75, machines=start_ranks.Machines(3, 1, 'host', None)")
    env = {**os.environ, "PYTHONPATH": str(ROOT / "projects")}
    done = subprocess.run([sys.executable, "-c", launcher, code], capture_output=True, text=True, env=env, check=True)
    assert sorted(done.stdout.splitlines()) == ["2 0 6 2 host 29999", "3 1 6 2 host 29999"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_reach_the_ranks_which_take_their_time(number: signal.Signals) -> None:
    """Red when the launcher dies of them, or kills ranks that are still saving."""
    rank = "signal.signal({0}, lambda *_: (time.sleep(2), sys.exit(75))); say('ready'); time.sleep(1000)"
    launcher = start(rank.format(int(number)))
    assert [launcher.stdout.readline() for _ in range(2)] == ["ready\n"] * 2  # type: ignore[union-attr]
    launcher.send_signal(number)
    assert launcher.wait(timeout=120) == 75


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_ranks_end_with_a_launcher_that_is_killed() -> None:
    """Red when they go on as orphans that write the same checkpoints as the next run."""
    launcher = start("say(os.getpid()); time.sleep(1000)")
    ranks = [int(launcher.stdout.readline()) for _ in range(2)]  # type: ignore[union-attr]
    assert all(map(is_alive, ranks))
    launcher.kill()
    launcher.wait()
    for _ in range(600):
        if not any(map(is_alive, ranks)):
            return
        time.sleep(0.1)
    pytest.fail("ranks live on")

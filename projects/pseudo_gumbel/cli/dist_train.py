"""Train a config on N ranks of this machine (one per GPU; without GPUs, N CPU processes)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence

from pseudo_gumbel.cli.ranks import fail, read_command_line, train_command
from sa2va_native.engine.run.stopping import STOPPED
from sa2va_native.parallel.launchers import require_no_launcher, require_port
from sa2va_native.parallel.start_ranks import start_ranks

USAGE = """\
usage: pseudo-gumbel dist-train CONFIG N [options of pseudo-gumbel train]

  Ranks use DeepSpeed as --deepspeed or the config says, else ZeRO-2.

examples:
  pseudo-gumbel dist-train pseudo_gumbel_tiny 2
  pseudo-gumbel dist-train pseudo_gumbel_tiny 2 --resume
  pseudo-gumbel dist-train sa2va_tiny 4 --deepspeed zero3 --precision fp32
  pseudo-gumbel dist-train pseudo_gumbel_4b 4 --dry-run       could it start? one process, no GPU
  MASTER_PORT=29511 pseudo-gumbel dist-train CONFIG N         fixed port (default: a free one)
"""


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel dist-train") -> None:
    given_port = os.environ.get("MASTER_PORT")

    def check(ranks: int) -> None:
        require_no_launcher(ranks)
        if given_port:
            require_port(given_port)

    launch = read_command_line(arguments, prog, USAGE, check=check)
    gpus = visible_gpus()
    if 0 < gpus < launch.ranks:
        fail(prog, f"{launch.ranks} ranks were requested but only {gpus} GPU(s) are visible")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // launch.ranks)))
    port = int(given_port or free_port())
    sys.exit(start_ranks(train_command(launch, "pytorch"), launch.ranks, port, in_order=STOPPED))


def visible_gpus() -> int:
    """Number of GPUs that ranks may use. It comes from the driver, so that CUDA need not be loaded."""
    if shutil.which("nvidia-smi") is None:
        return 0
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True)
    gpus = len(listed.stdout.splitlines()) if listed.returncode == 0 else 0
    chosen = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    return len(chosen) if gpus and chosen else gpus


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

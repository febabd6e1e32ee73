"""Train a config on N ranks of each machine (one per GPU; without GPUs, N CPU processes)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence

from pseudo_gumbel.cli.ranks import fail, read_command_line, train_command
from sa2va_native.engine.run.stopping import STOPPED
from sa2va_native.parallel.launchers import read_machines
from sa2va_native.parallel.start_ranks import start_ranks

USAGE = """\
usage: pseudo-gumbel dist-train CONFIG N [options of pseudo-gumbel train]

  Ranks use DeepSpeed as --deepspeed or the config says, else ZeRO-2.

environment, the same on all machines but NODE_RANK:
  NNODES        machines, each of which starts N ranks by this command (default: 1)
  NODE_RANK     number of this machine, from 0
  MASTER_ADDR   name or address of machine 0
  PORT          port there (default: 29500; on one machine a free one)

examples:
  pseudo-gumbel dist-train pseudo_gumbel_tiny 2
  pseudo-gumbel dist-train pseudo_gumbel_tiny 2 --resume
  pseudo-gumbel dist-train sa2va_tiny 4 --deepspeed zero3 --precision fp32
  pseudo-gumbel dist-train pseudo_gumbel_4b 4 --dry-run       could it start? one process, no GPU
  PORT=29511 pseudo-gumbel dist-train CONFIG N                fixed port (default: a free one)
  two machines of 4 GPUs; on the other one NODE_RANK=1:
  NNODES=2 NODE_RANK=0 MASTER_ADDR=HOST pseudo-gumbel dist-train pseudo_gumbel_4b 4
"""


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel dist-train") -> None:
    launch = read_command_line(arguments, prog, USAGE, count=lambda ranks: read_machines(ranks).total * ranks)
    machines = read_machines(launch.ranks)
    gpus = visible_gpus()
    if 0 < gpus < launch.ranks:
        fail(prog, f"{launch.ranks} ranks were requested but only {gpus} GPU(s) are visible")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // launch.ranks)))
    port = machines.port or free_port()
    if machines.total > 1:  # torch says nothing while it waits, for up to half an hour
        where = f"{machines.address}:{port}"
        print(f"machine {machines.number} of {machines.total} waits for the others at {where}", flush=True)
    sys.exit(start_ranks(train_command(launch, "pytorch"), launch.ranks, port, STOPPED, machines))


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

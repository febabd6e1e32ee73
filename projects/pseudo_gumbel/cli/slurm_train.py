"""Train a config on N GPUs of a Slurm partition."""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from pseudo_gumbel.cli.options import in_words_of
from pseudo_gumbel.cli.ranks import fail, read_command_line, train_command
from sa2va_native.errors import ConfigError
from sa2va_native.parallel.launchers import require_no_launcher

USAGE = """\
usage: pseudo-gumbel slurm-train PARTITION CONFIG N [options of pseudo-gumbel train]

  Ranks use DeepSpeed as --deepspeed or the config says, else ZeRO-2.

environment:
  GPUS_PER_NODE   GPUs of a node to use (default: N, at most 8)
  CPUS_PER_TASK   cores of a rank (default: 8)
  SRUN_ARGS       more arguments for srun, e.g. "--time 12:00:00"

example:
  pseudo-gumbel slurm-train gpu pseudo_gumbel_4b 8
"""

_GPUS, _CORES = "GPUS_PER_NODE", "CPUS_PER_TASK"


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel slurm-train") -> None:
    launch = read_command_line(arguments, prog, USAGE, before=1, count=_checked)
    if shutil.which("srun") is None:
        fail(prog, in_words_of(prog, "srun is not installed here; on one machine use pseudo-gumbel dist-train"))
    per_node = int(os.environ.get(_GPUS) or min(launch.ranks, 8))
    if launch.ranks % per_node:
        fail(prog, f"{launch.ranks} ranks do not fill nodes of {per_node} GPUs; set GPUS_PER_NODE")
    cores = os.environ.get(_CORES) or "8"
    os.environ.setdefault("OMP_NUM_THREADS", cores)
    os.environ.setdefault("MASTER_PORT", str(random.randrange(20_000, 40_000)))
    srun = ["srun", "--partition", *launch.before, "--job-name", Path(launch.config).stem]
    srun += ["--ntasks", str(launch.ranks), "--ntasks-per-node", str(per_node), "--gres", f"gpu:{per_node}"]
    srun += ["--cpus-per-task", cores, "--kill-on-bad-exit=1", *shlex.split(os.environ.get("SRUN_ARGS", ""))]
    os.execvp("srun", [*srun, *train_command(launch, "slurm")])


def _checked(ranks: int) -> int:
    for name in (_GPUS, _CORES):
        if not re.fullmatch("[1-9][0-9]*", os.environ.get(name) or "1"):
            raise ConfigError(f"{name}={os.environ[name]}: expected a positive integer.")
    others = {name: value for name, value in os.environ.items() if name != "MASTER_ADDR"}  # srun's ranks may need that
    require_no_launcher(ranks, others)
    return ranks

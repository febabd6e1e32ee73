"""Process groups that also work on machines without a GPU."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist


def describe_single_rank() -> None:
    """Says in the environment that a process without a launcher is a group of one; DeepSpeed would look for MPI."""
    alone = dict(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(_free_port()))
    for name, value in alone.items():
        if not os.environ.get(name):  # an empty one says nothing
            os.environ[name] = value


def init_cpu_process_group(use_deepspeed: bool = True) -> None:
    """Joins the process group over gloo. MMEngine's ``init_dist`` selects a CUDA device whatever the backend."""
    describe_single_rank()
    if use_deepspeed:
        import deepspeed

        # Would compile a C++ all-reduce through shared memory when a compiler is found: half a minute, no gain here.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False, verbose=False)
    elif not dist.is_initialized():
        dist.init_process_group("gloo")


def has_cuda() -> bool:
    """Whether this process can train on a GPU."""
    return torch.cuda.is_available() and torch.cuda.device_count() > 0


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

"""Several ranks on one machine for tests: forked, so that imports are paid once."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.multiprocessing as mp


def run_ranks(world_size: int, function: Callable[..., Any], *args: Any, timeout: float = 120) -> list[Any]:
    """Calls ``function(*args)`` in ``world_size`` processes that can form a process group.

    Returns:
        what it returned, by rank; a rank that died or raised gives the text of its error as an exception.
    """
    context = mp.get_context("fork")
    results = context.SimpleQueue()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with TemporaryDirectory() as folder:
        ranks = [
            context.Process(target=_rank, args=(rank, world_size, port, results, function, args, folder))
            for rank in range(world_size)
        ]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join(timeout)
        returned: dict[int, Any] = {}
        while not results.empty():
            index, value = results.get()
            returned[index] = value
        for index, rank in enumerate(ranks):
            if rank.is_alive():
                rank.kill()
                raise TimeoutError(f"rank {index} still runs after {timeout} s: the ranks wait for each other")
            if index not in returned:
                raise RuntimeError(f"rank {index} died with exit code {rank.exitcode}")
            if isinstance(returned[index], _Raised):
                raise RuntimeError(f"rank {index}:\n{returned[index].text}")
        return [torch.load(returned[index], weights_only=False) for index in range(world_size)]


class _Raised:
    def __init__(self, text: str) -> None:
        self.text = text


def _rank(rank: int, world_size: int, port: int, results: Any, function: Callable, args: tuple, folder: str) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        OMP_NUM_THREADS="1",
    )
    torch.set_num_threads(1)
    try:
        value = function(*args)
        # Through a file: tensors in a queue need the sender to live on.
        path = f"{folder}/{rank}.pt"
        torch.save(value, path)
        results.put((rank, path))
    except BaseException:
        results.put((rank, _Raised(traceback.format_exc())))
    finally:
        os._exit(0)

"""Several ranks on one machine for tests: forked, so that imports are paid once."""

from __future__ import annotations

import os
import runpy
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
import torch.multiprocessing as mp


def run_ranks(world_size: int, function: Callable[..., Any], *args: Any, timeout: float = 120) -> list[Any]:
    """Calls ``function(*args)`` in ``world_size`` processes that can form a process group.

    Returns:
        what it returned, by rank; a rank that died or raised gives the text of its error as an exception.
    """
    context = mp.get_context("fork")
    results = context.SimpleQueue()
    with TemporaryDirectory() as folder:
        ranks = [
            context.Process(target=_rank, args=(rank, environment, results, function, args, folder))
            for rank, environment in enumerate(_environments(world_size))
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


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    output: str  #: both streams


#: Looks at a command as it runs: process ids and what was printed so far, by rank.
Meanwhile = Callable[[list[int], list[str]], None]


def call_tool(
    tool: Path, *arguments: object, ranks: int = 0, timeout: float = 300, meanwhile: Meanwhile | None = None
) -> list[Ended]:
    """Calls a Python script of ``tools/`` as its command line would, by rank; ``ranks=0`` is without a launcher.

    Forked too; only what the script's own process would print and its exit status count. ``meanwhile`` is called again
    and again until all have ended.
    """
    environments = [{}] if not ranks else _environments(ranks)
    with TemporaryDirectory() as folder:
        children = []
        for number, environment in enumerate(environments):
            if not (child := os.fork()):
                _become(tool, [str(argument) for argument in arguments], environment, f"{folder}/{number}")
            children.append(child)
        ended, start = {}, time.monotonic()
        while len(ended) < len(children):
            if meanwhile:
                files = [Path(f"{folder}/{number}") for number in range(len(children))]
                meanwhile(children, [file.read_text(errors="replace") if file.exists() else "" for file in files])
            for number, child in enumerate(children):
                if number not in ended and (done := os.waitpid(child, os.WNOHANG))[0]:
                    output = Path(f"{folder}/{number}").read_text(errors="replace")
                    ended[number] = Ended(os.waitstatus_to_exitcode(done[1]), output)
            if time.monotonic() - start > timeout:
                for number in set(range(len(children))) - ended.keys():
                    os.kill(children[number], signal.SIGKILL)
                    os.waitpid(children[number], 0)
                raise TimeoutError(f"after {timeout} s only ranks {sorted(ended)} have ended: {ended}")
            time.sleep(0.02)
    return [ended[number] for number in range(len(children))]


def _become(tool: Path, arguments: list[str], environment: dict[str, str], output: str) -> None:
    """Never returns."""
    status = 0
    try:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT)
        os.dup2(handle, 1), os.dup2(handle, 2)
        sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1) for stream in (1, 2))
        os.environ.update(environment)
        sys.argv = [str(tool), *arguments]
        runpy.run_path(str(tool), run_name="__main__")
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 1
    os._exit(status)


def _environments(world_size: int) -> list[dict[str, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = dict(WORLD_SIZE=str(world_size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
    return [dict(shared, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in range(world_size)]


class _Raised:
    def __init__(self, text: str) -> None:
        self.text = text


def _rank(rank: int, environment: dict, results: Any, function: Callable, args: tuple, folder: str) -> None:
    os.environ.update(environment)
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

"""Starts the ranks of a run on this machine and sees them to their end; without torch, so that it starts at once."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from sa2va_native.parallel.launchers import ALONE, Machines
from sa2va_native.parallel.processes import end_with_parent

#: What the launcher is told, the ranks are told.
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
#: Seconds that ranks have to end by themselves, with a message, after one has failed.
_PATIENCE = 30.0


def start_ranks(command: Sequence[str], ranks: int, port: int, in_order: int, machines: Machines = ALONE) -> int:
    """Runs a command in several processes with the environment of ranks, and waits for all of them.

    On several machines each starts its own.

    Signals are passed on, and waited for as long as the ranks need. When a rank fails, the others are killed after a
    while, as they may wait for it. When this process is killed, the ranks are too.

    Args:
        ranks: to start here.
        port: on which rank 0 will listen for the others.
        in_order: an exit status of ranks beside 0 that is no failure.
        machines: which of them this is; rank 0 is on machine 0.

    Returns:
        0, ``in_order``, or the exit status of the first rank that failed, 128 + N for one that signal N killed.
    """
    shared: dict[str, object] = dict(WORLD_SIZE=machines.total * ranks, LOCAL_WORLD_SIZE=ranks)
    shared |= dict(MASTER_ADDR=machines.address, MASTER_PORT=port)
    running: dict[int, subprocess.Popen[bytes]] = {}

    def pass_on(number: int, _: object) -> None:
        for process in running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    for local in range(ranks):
        rank = machines.number * ranks + local
        own = {name: str(value) for name, value in {**shared, "RANK": rank, "LOCAL_RANK": local}.items()}
        running[rank] = subprocess.Popen(
            command,
            env={**os.environ, **own},
            start_new_session=True,  # so that Ctrl-C reaches it once, through this process
            preexec_fn=functools.partial(end_with_parent, os.getpid()),
        )
    first, until = 0, float("inf")
    while running:
        for rank, process in list(running.items()):
            if (status := process.poll()) is None:
                continue
            del running[rank]
            if status < 0 and not first:
                print(f"rank {rank} was killed by {signal.Signals(-status).name}", file=sys.stderr, flush=True)
            if status not in (0, in_order) and first in (0, in_order):
                first, until = 128 - status if status < 0 else status, time.monotonic() + _PATIENCE
            first = first or status
        if time.monotonic() > until:
            pass_on(signal.SIGKILL, None)
        time.sleep(0.05)
    return first

"""What asks a run to stop: signals and time limits. The train loop looks between two optimizer steps.

It imports nothing slow, as a command listens before it imports anything else.
"""

from __future__ import annotations

import atexit
import multiprocessing.util  # first, so that at the exit its turn comes after ours
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from sa2va_native.parallel.processes import end_with_parent

#: Exit status of a run that stopped on request before its last step: it is saved, and ``--resume`` goes on.
STOPPED = os.EX_TEMPFAIL
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_STARTED = time.monotonic()
#: Seconds that are left of a Slurm job for the last step and the checkpoint; at most a tenth of the job.
_RESERVE = 300


class StopSignals:
    """Notes the first signal to this process, if it is training, and ends it at the second, or before it trains.

    Signals are read by a thread, so that they are heard while Python waits in a collective or in CUDA.
    """

    def __init__(self) -> None:
        self.received: str | None = None  #: name of the first signal
        self.can_finish = False  #: whether a train loop is there that will look at it
        self.listening = False

    def listen(self) -> None:
        """Takes over SIGINT, SIGTERM and SIGUSR1 for the rest of the process. In the main thread."""
        self.listening, self.received, self.can_finish = True, None, False  # whatever ran here before
        heard, told = os.pipe()
        os.set_blocking(told, False)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        for one in SIGNALS:
            signal.signal(one, _nothing)
        os.register_at_fork(after_in_child=_leave_to_the_parent)
        atexit.register(_kill_children)
        threading.Thread(target=self._read, args=(heard,), name="stop-signals", daemon=True).start()

    def _read(self, heard: int) -> None:
        while True:
            number = os.read(heard, 1)[0]
            if number in SIGNALS:
                self._heed(signal.Signals(number))

    def _heed(self, one: signal.Signals) -> None:
        if self.can_finish and self.received is None:
            self.received = one.name
            return
        lost = "what was trained since the last checkpoint is lost" if self.can_finish else "it had not begun to train"
        if is_first_rank():
            print(f"\nEnded at once by {one.name}: {lost}.", file=sys.stderr, flush=True)
        os._exit(128 + one)


#: Those of this process.
stop_signals = StopSignals()


class TimeLimit:
    """The moment after which a run stops, of ``max_hours`` and of the Slurm job that it belongs to.

    Args:
        max_hours: since the start of the process, > 0; None for no limit.
    """

    def __init__(self, max_hours: float | None = None) -> None:
        self._limits: dict[str, float] = {}
        if max_hours is not None:
            self._limits[f"the limit of {max_hours:g} hours"] = _STARTED + max_hours * 3600
        if ends := os.environ.get("SLURM_JOB_END_TIME", ""):  # seconds since 1970
            left = float(ends) - time.time()
            self._limits["the time limit of the Slurm job"] = time.monotonic() + left - min(_RESERVE, left / 10)

    def reached(self) -> str | None:
        """The limit that has been reached, in words; None if there is none."""
        now = time.monotonic()
        return next((name for name, moment in self._limits.items() if now >= moment), None)


def is_first_rank() -> bool:
    """Whether this is the rank that speaks for all, before there is a process group."""
    return (os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or "0") == "0"


def ignore_sigterm(start: Callable[[int], None] | None, worker: int) -> None:
    """For ``worker_init_fn`` of a loader: Slurm sends SIGTERM to all processes of a job, and a rank needs its workers.

    Args:
        start: the loader's own ``worker_init_fn``, called too.
        worker: its number.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if start is not None:
        start(worker)


def _kill_children() -> None:
    """At the exit Python would send SIGTERM to the workers that are left, and wait for them."""
    for child in multiprocessing.active_children():
        child.kill()


def _nothing(_: int, __: FrameType | None) -> None:
    """A handler must be there for Python to note a signal."""


def _leave_to_the_parent() -> None:
    """In a process that a listening one forks: Ctrl-C reaches all of them, and the parent alone decides."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()

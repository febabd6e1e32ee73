"""Runs side by side, each a process of one thread; ended together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

from pseudo_gumbel.experiment.runs import RunFailed

T = TypeVar("T")
#: Lines of a failed command's log that its error shows.
_TAIL = 20
_PROJECTS = Path(__file__).resolve().parents[2]


class Pool:
    """Does tasks in order, several at a time.

    Args:
        jobs: how many at a time.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def call(self, command: Sequence[str], log: Path) -> float:
        """Run a command with one thread and its output in ``log``; returns the CPU seconds that it took.

        Raises:
            RunFailed: it ended with an error; with the end of the log.
        """
        paths = [str(_PROJECTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
        with log.open("wb") as file:
            with self._lock:
                if self._stopped:
                    raise RunFailed("stopped")
                # A session of its own, so that Ctrl-C reaches it through `stop` alone, and its children too.
                process = subprocess.Popen(
                    command, stdout=file, stderr=subprocess.STDOUT, env=env, start_new_session=True
                )
                self._processes.add(process)
            _, status, used = os.wait4(process.pid, 0)
        status = process.returncode = os.waitstatus_to_exitcode(status)
        with self._lock:
            self._processes.discard(process)
        if status:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
            raise RunFailed("\n".join([*lines, f"(exit status {status}; whole log: {log})"]))
        return used.ru_utime + used.ru_stime

    def stop(self) -> None:
        """End all commands, and start no more."""
        with self._lock:
            self._stopped = True
            running = list(self._processes)
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)

    def map(self, do: Callable[[T], object], tasks: Sequence[T]) -> Iterator[tuple[T, BaseException | None]]:
        """Each task as it ends, with the error that ended it; on leaving early all commands are ended."""
        with ThreadPoolExecutor(self.jobs) as executor:
            todo = iter(tasks)
            running = {executor.submit(do, task): task for _, task in zip(range(self.jobs), todo, strict=False)}
            try:
                while running:
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        task = running.pop(future)
                        if (following := next(todo, None)) is not None:
                            running[executor.submit(do, following)] = following
                        yield task, future.exception()
            finally:
                self.stop()

"""Processes that end with the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int | None = None) -> None:
    """Has the kernel kill this process when its parent ends, however that ends. Linux only; elsewhere it does nothing.

    Call it in the new process: a fork of it does not inherit this, what it executes does.

    Args:
        parent: id of the parent; if that has ended already, this process ends here.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)

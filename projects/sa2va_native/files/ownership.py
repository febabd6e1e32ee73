"""A folder that one process writes to at a time."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import socket
import time
from pathlib import Path

from sa2va_native.errors import ConfigError

#: The file that is locked; it says who holds the lock, and is there as long as that one runs in order.
LOCK = ".running"


def own_folder(folder: str | Path) -> None:
    """Makes this process the owner of a folder until it ends, however it ends.

    The kernel holds the lock, so nothing is left to clear away when an owner was killed. Machines that share the folder
    see it too, unless their file system has no locks: then nobody is kept out.

    Raises:
        ConfigError: another process owns it; it is named. Or the lock is no file, or cannot be opened.
    """
    path = Path(folder) / LOCK
    handle = _locked(path)
    if handle is None:
        return
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    os.truncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}, since {since}".encode(), 0)
    owner = os.getpid()

    def release() -> None:
        if os.getpid() == owner:  # not a fork of it
            path.unlink(missing_ok=True)

    atexit.register(release)


def require_no_owner(folder: str | Path) -> None:
    """Looks whether a folder, which need not exist, has an owner.

    Raises:
        ConfigError: it has; it is named.
    """
    path = Path(folder) / LOCK
    if path.is_file() and (handle := _locked(path)) is not None:
        os.close(handle)


def owner_of(folder: str | Path) -> str | None:
    """What the owner of a folder said of itself; None without one."""
    try:
        return (Path(folder) / LOCK).read_text(errors="replace")
    except OSError:
        return None


def _locked(path: Path) -> int | None:
    """A handle of the file, open as long as the lock is wanted; None where there are no locks."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)  # what a link leads to is not ours
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be opened ({error.strerror}). Remove it, or choose another --work-dir."
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 500, 0).decode(errors="replace") or "a process that is starting"
            os.close(handle)
            raise ConfigError(
                f"a run is alive in {path.parent}: {owner}. Wait for its end or end it, or choose another --work-dir."
            ) from None
        except OSError:
            os.close(handle)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        os.close(handle)  # of a file that its owner removed meanwhile

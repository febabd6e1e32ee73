"""One process at a time writes to a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sa2va_native.errors import ConfigError
from sa2va_native.files.ownership import LOCK, own_folder, require_no_owner
from sa2va_native.files.paths import ROOT


def owner_of(folder: Path) -> int:
    """A process that owns a folder, and a fork of it that lives on as long."""
    if not (owner := os.fork()):
        own_folder(folder)
        os.fork()
        time.sleep(1000)
        os._exit(0)
    for _ in range(600):
        if (folder / LOCK).is_file() and (folder / LOCK).read_text():
            return owner
        time.sleep(0.05)
    raise TimeoutError


def test_a_second_owner_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    """Red when two runs write and delete the same checkpoints."""
    owner = owner_of(tmp_path)
    for ask in (own_folder, require_no_owner):
        with pytest.raises(ConfigError, match=rf"a run is alive in \S+: process {owner} on \S+, since .*--work-dir"):
            ask(tmp_path)
    children = Path(f"/proc/{owner}/task/{owner}/children").read_text().split()
    for one in (owner, *map(int, children)):
        os.kill(one, signal.SIGKILL)
    os.waitpid(owner, 0)
    for _ in range(600):
        try:
            require_no_owner(tmp_path)
            return
        except ConfigError:  # the fork is dying
            time.sleep(0.05)
    pytest.fail("the lock outlives its owner")


def test_a_folder_is_free_again_when_its_owner_has_ended(tmp_path: Path) -> None:
    """Red when the file of a run that has ended keeps the next one out, or is left behind."""
    program = f"from sa2va_native.files.ownership import own_folder; own_folder({str(tmp_path)!r})"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "projects")}
    subprocess.run([sys.executable, "-c", program], check=True, env=env)
    assert not (tmp_path / LOCK).exists()
    require_no_owner(tmp_path)
    require_no_owner(tmp_path / "not there")


def test_a_planted_lock_is_refused(tmp_path: Path) -> None:
    """Red when the file that a link in a work dir of others leads to is emptied, or a folder ends in a traceback."""
    (tmp_path / "mine").write_text("precious")
    (tmp_path / LOCK).symlink_to(tmp_path / "mine")
    with pytest.raises(ConfigError, match=r"\.running cannot be opened .* choose another --work-dir"):
        own_folder(tmp_path)
    assert (tmp_path / "mine").read_text() == "precious"
    (tmp_path / LOCK).unlink()
    (tmp_path / LOCK).mkdir()
    with pytest.raises(ConfigError, match=r"Is a directory"):
        own_folder(tmp_path)

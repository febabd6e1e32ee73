"""Real runs of the tiny model, killed at random moments and resumed: ``benchmarks/random_kills.py``, once a way."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sa2va_native.files.paths import ROOT


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="orphans are found by a call that Linux has")
def test_killed_runs_end_as_the_one_that_nobody_killed() -> None:
    """Red when a kill leaves a process or a file, is told by a traceback, or changes a bit of the end of the run."""
    command = [sys.executable, ROOT / "benchmarks/random_kills.py", "--kills", "3"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=3000)
    assert ended.returncode == 0, ended.stdout
    counts = [line.split("\t") for line in ended.stdout.splitlines() if line.startswith(("plain", "zero"))]
    assert [sum(map(int, line[1:4])) for line in counts] == [1, 1, 1]

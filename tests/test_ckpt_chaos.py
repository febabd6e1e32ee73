"""An outside referee kills a run at every event of its files: ``ckpt-chaos`` 0.1.8, if it is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("toy_run.py")


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "ranks"), [(0, 1), (2, 1), (2, 2)])
def test_every_kill_resumes_from_the_newest_complete_checkpoint(tmp_path: Path, stage: int, ranks: int) -> None:
    """Red when a kill leaves a torn checkpoint under its final name, work is lost, or the resumed weights differ."""
    pytest.importorskip("ckpt_chaos")
    referee = [sys.executable, "-m", "ckpt_chaos", "run", "--work", str(tmp_path / "work"), "--ranks", str(ranks)]
    referee += ["--step-regex", r"begins after step (\d+)", "--checkpoint-glob", "{out}/run/iter_*.pth"]
    referee += ["--result-file", "{out}/digest", "--fail-on", "HARD_FAIL,SILENT_DIVERGENCE,LOST_WORK"]
    command = [sys.executable, str(RUN), "{out}", str(stage)]
    ended = subprocess.run([*referee, "--", *command], capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "PASS" in ended.stdout

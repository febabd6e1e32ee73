"""The check of a GPU, as far as it runs without one."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from benchmarks.gpu_check import read_line
from sa2va_native.files.paths import ROOT

SCRIPT = str(ROOT / "benchmarks/gpu_check.py")
LOGGED = (
    "11/28 03:09:03 - mmengine - INFO - Iter(train) [ 3/16]  lr: 1.0e-07  eta: 0:01:02  time: 4.5012  data_time: 0.1  "
    "memory: 28369  loss: 1.2500  loss_bce: nan  silent_captions: 0.0000"
)


def test_a_line_of_the_log_is_read() -> None:
    """Red when a loss that is not a number passes for none, or time of the data for that of the step."""
    line = read_line(LOGGED)
    assert (line.number, line.seconds, line.memory) == (3, 4.5012, 28369)
    assert line.losses["loss"] == 1.25
    assert line.losses["loss_bce"] != line.losses["loss_bce"]
    assert set(line.losses) == {"loss", "loss_bce"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_ends_with_one_line() -> None:
    """Red when the minutes of a check on a CPU pass for a GPU's, or a traceback is all that a user sees."""
    ended = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert ended.stderr == "gpu-check: no CUDA device here. Without one: --device cpu --config tiny\n"


@pytest.mark.slow
def test_the_tiny_model_passes_on_a_cpu() -> None:
    """Red when a resume changes a loss, a checkpoint is missing, or the check reads nothing from the log."""
    command = [sys.executable, SCRIPT, "--device", "cpu", "--config", "tiny"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "the same losses after a resume" in ended.stdout
    assert "all passed" in ended.stdout

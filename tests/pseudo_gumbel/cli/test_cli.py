"""The console command and the scripts of tools/ that share its functions."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from pseudo_gumbel import cli
from pseudo_gumbel.cli import ranks
from pseudo_gumbel.cli.dist_train import visible_gpus
from sa2va_native.files.paths import ROOT


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Red when a command of the list has no module, or its script is gone; both show examples in their own words."""
    tool = cli.COMMANDS[name].tool
    assert tool in (ROOT / tool).read_text()
    main = importlib.import_module(f"pseudo_gumbel.cli.{name.replace('-', '_')}").main
    for prog, other in ((f"pseudo-gumbel {name}", "tools/"), (tool, "pseudo-gumbel ")):
        with pytest.raises(SystemExit, match="0"):
            main(["--help"], prog)
        shown = capsys.readouterr().out
        assert shown.startswith(f"usage: {prog} ")
        assert f"  {prog} " in shown
        assert other not in shown


def test_the_list_of_commands_comes_at_once() -> None:
    """Red when the help waits for torch."""
    code = "import sys, pseudo_gumbel.cli as c\ntry: c.main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "projects", capture_output=True, text=True, check=True
    )
    assert all(f"  {name} " in shown.stdout for name in cli.COMMANDS)


def test_a_misspelt_command_tells_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """Red when `trian` is answered by a traceback."""
    with pytest.raises(SystemExit, match="2"):
        cli.main(["trian", "pseudo_gumbel_tiny"])
    assert "no command 'trian'. Did you mean 'train'?" in capsys.readouterr().err


def test_what_a_rank_runs() -> None:
    """Red when an option gets lost, ZeRO-2 overrides a choice, or the current folder shadows packages."""
    launch = ranks.read_command_line(["gpu", "sa2va_tiny", "3", "--seed", "1"], "slurm_train.sh", "", before=1)
    assert (launch.before, launch.ranks) == (["gpu"], 3)
    command = ranks.train_command(launch, "slurm")
    assert command[:5] == [sys.executable, "-u", "-P", "-m", "pseudo_gumbel"]
    assert command[5:] == [
        "train", str(ROOT / "configs/sa2va_tiny.py"), "--launcher", "slurm", "--ranks", "3", "--seed", "1",
        "--deepspeed-default", "zero2",
    ]  # fmt: skip


def test_gpus_are_those_of_the_driver_that_the_environment_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when hidden GPUs are counted, or a machine without any is refused."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == 0
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho GPU 0\necho GPU 1\necho GPU 2\n")
    driver.chmod(0o755)
    assert visible_gpus() == 3
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    assert visible_gpus() == 2

"""The command that verifies checkpoints names what is damaged, and ends with a status that says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pseudo_gumbel.cli.check_checkpoint import check
from sa2va_native.files.paths import ROOT
from tests.sa2va_native.engine.checkpoints.test_damage import write


def _check(path: Path, capsys: pytest.CaptureFixture) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        check(path)
    return int(ended.value.code or 0), capsys.readouterr().out


def test_every_checkpoint_of_a_work_dir_is_verified(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Red when one damaged checkpoint hides the others, or passes."""
    for number in (2, 4):
        write(tmp_path / f"iter_{number}.pth", "a", number)
    assert _check(tmp_path, capsys)[0] == 0
    damaged = tmp_path / "iter_2.pth"
    damaged.write_bytes(damaged.read_bytes().replace(b"weight", b"weighs"))
    status, said = _check(tmp_path, capsys)
    assert status == 1
    assert "1 tensors, 3,000 values, float32, all finite" in said
    assert "NOT USABLE   checkpoint" in said
    assert "iter_2.pth has bytes that do not match its checksum" in said


def test_values_that_are_not_finite_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "iter_1.pth"
    torch.save({"state_dict": {"w": torch.tensor([float("nan")])}, "meta": {}}, path)
    status, said = _check(path, capsys)
    assert (status, "w is not finite" in said) == (1, True)


@pytest.mark.parametrize(("path", "status"), [(ROOT / "assets/tiny/sa2va_tiny.safetensors", 0), (Path("nowhere"), 1)])
def test_published_weights_are_described(path: Path, status: int, capsys: pytest.CaptureFixture) -> None:
    ended, said = _check(path, capsys)
    assert ended == status
    assert ("this project" if status == 0 else "no such file or directory") in said

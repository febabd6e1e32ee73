"""XTuner's own command trains the shipped configs and resumes from their checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sa2va_native.datasets.scenes.scene_set import write_scene_set
from sa2va_native.engine.run.xtuner_guest import missing_for_xtuner
from sa2va_native.files.paths import ROOT

_missing = missing_for_xtuner()
pytestmark = pytest.mark.skipif(_missing is not None, reason=f"`xtuner train` cannot start: {_missing}")

SIZES = {"labelled": 6, "mask_only": 8, "test": 2, "test_heldout": 2}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that replace the config's scene set by a small one."""
    root = write_scene_set(tmp_path_factory.mktemp("data") / "scenes", sizes=SIZES)
    sizes = [f"settings.sizes.{split}={size}" for split, size in SIZES.items()]
    return [
        f"train_dataloader.dataset.sources.{source}.dataset.{option}"
        for source in (0, 1)
        for option in (f"root={root}", *sizes)
    ]


def xtuner(*arguments: object) -> str:
    """Output of ``xtuner`` on both streams. Its exit status is always 0."""
    bin_dir = Path(sys.executable).parent  # xtuner starts the first `python` on the PATH
    path = f"{bin_dir}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "projects"), "OMP_NUM_THREADS": "1"}
    command = [str(bin_dir / "xtuner"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, timeout=300)
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "states"), [((), "."), (("--deepspeed", "configs/deepspeed/zero2.json"), "mp_rank_00_model_states.pt")]
)
def test_xtuner_trains_and_resumes(scenes: list[str], tmp_path: Path, options: tuple[str, ...], states: str) -> None:
    """Red when XTuner's start-up meets a config it cannot use, or its strategy drops the teacher."""

    def train(steps: int, *more: object) -> str:
        size = [f"train_cfg.max_steps={steps}", "train_dataloader.batch_size=2"]
        command = ("train", "configs/pseudo_gumbel_tiny.py", "--work-dir", tmp_path, *options, *more)
        return xtuner(*command, "--cfg-options", *size, *scenes)

    first = tmp_path / "iter_2.pth"
    output = train(1)
    assert first.exists(), output
    state = torch.load(first / states)  # as XTuner reads it: tensors and plain values only
    assert state["ema_teacher"]
    assert state["random_states"]

    output = train(2, "--resume", first)
    assert "resumed epoch: 0, iter: 2" in output
    assert (tmp_path / "iter_4.pth").exists(), output


@pytest.mark.slow
def test_xtuner_refuses_a_misspelt_key(scenes: list[str], tmp_path: Path) -> None:
    """Red when the check runs in our tools alone."""
    options = ("--work-dir", tmp_path, "--cfg-options", "optim_wraper.clip_grad=1", *scenes)
    output = xtuner("train", "configs/pseudo_gumbel_tiny.py", *options)
    assert "Did you mean 'optim_wrapper'?" in output
    assert not list(tmp_path.glob("iter_*")), output

"""A model to ask, from whatever names it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from pseudo_gumbel.cli import convert_checkpoint
from pseudo_gumbel.load_inference import config_of_run, load_inference
from sa2va_native.datasets.scenes.scene import make_scene
from sa2va_native.errors import CheckpointError, ConfigError
from sa2va_native.files.paths import ROOT
from sa2va_native.inference.sa2va_inference import Sa2VAInference
from sa2va_native.parallel.parameters import trainable_parameters
from tests.tiny import tiny_pseudo_gumbel

WEIGHTS = "assets/tiny/sa2va_tiny.safetensors"


def answer(sa2va: Sa2VAInference) -> tuple[bytes, str | None]:
    """Mask and caption of one scene: alike only for models that are alike."""
    frame = make_scene(0, "test", 4).render()
    (mask,) = sa2va.segment_image(frame.image, "the large red circle")
    (caption,) = sa2va.caption_regions(frame.image, frame.masks[0])
    assert mask is not None
    return mask.tobytes(), caption


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work dir as a run leaves it. The teacher of its checkpoint is the base, and the student is not."""
    folder = tmp_path_factory.mktemp("run")
    model = tiny_pseudo_gumbel()
    teacher = {name: tensor.detach().clone() for name, tensor in trainable_parameters(model).items()}
    draw = torch.Generator().manual_seed(0)
    student = {
        name: tensor * (1 + 0.5 * torch.randn(tensor.shape, generator=draw)) + 0.01 for name, tensor in teacher.items()
    }
    torch.save({"state_dict": student, "ema_teacher": teacher}, folder / "iter_2.pth")
    Config.fromfile(ROOT / "configs/pseudo_gumbel_tiny.py").dump(folder / "pseudo_gumbel_tiny.py")
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "tiny"
    convert_checkpoint.main([WEIGHTS, str(folder), "--config", "sa2va_tiny", "--check"])
    return folder


def test_an_exported_directory_is_the_model_that_was_exported(exported: Path) -> None:
    """Red when the config that it writes builds another SAM 2, so that the weights do not fit."""
    assert answer(load_inference(exported)) == answer(load_inference()) == answer(load_inference(weights=str(exported)))


def test_a_work_dir_is_its_newest_checkpoint_with_its_own_config(run: Path) -> None:
    """Red when base weights are asked, or student and teacher are exchanged."""
    base, student = answer(load_inference("sa2va_tiny")), answer(load_inference(run))
    assert student != base
    assert answer(load_inference(run / "iter_2.pth")) == answer(load_inference(checkpoint=run)) == student
    assert answer(load_inference("pseudo_gumbel_tiny", run)) == student
    assert answer(load_inference(run, teacher=True)) == base
    assert not load_inference(run).model.training, "dropout would be on for code that calls the model itself"


def test_the_newest_config_of_a_work_dir_counts(tmp_path: Path) -> None:
    """Red when DeepSpeed's script is taken for a config, or that of an earlier run."""
    for age, name in enumerate(["zero_to_fp32.py", "b.py", "a.py"]):
        (tmp_path / name).touch()
        times = (tmp_path / name).stat().st_mtime_ns - 10**9 * age
        os.utime(tmp_path / name, ns=(times, times))
    assert config_of_run(tmp_path / "iter_2.pth") == config_of_run(tmp_path) == tmp_path / "b.py"


def test_other_weights_and_options() -> None:
    """Red when they are read and not used."""
    partner = load_inference("sa2va_tiny", weights="assets/tiny/sa2va_tiny_partner.safetensors")
    assert answer(partner)[1] != answer(load_inference())[1]
    assert load_inference(options={"model.max_new_tokens": 5}).model.max_new_tokens == 5


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"model": "sa2va_tin"}, "config sa2va_tin does not exist. Did you mean 'sa2va_tiny'"),
        ({"model": WEIGHTS}, "is a file of weights and has no config"),
        ({"model": "docs"}, "docs is neither a run's work dir"),
        ({"teacher": True}, "a teacher without a checkpoint"),
        ({"model": "sa2va_4b"}, "no base weights"),
        ({"model": "benchmarks/refcoco"}, "the config has no model"),
        ({"options": {"model.max_new_token": 5}}, "has no parameter 'max_new_token'. Did you mean 'max_new_tokens'"),
    ],
)
def test_what_is_no_model_is_named(arguments: dict, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when it ends in a traceback, or something else is asked instead."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("SA2VA_WEIGHTS", raising=False)
    with pytest.raises(ConfigError, match=reason):
        load_inference(**arguments)


def test_faults_of_directories_are_named(exported: Path, tmp_path: Path) -> None:
    """Red when a directory of another model ends in a traceback, or options that have no effect are taken."""
    with pytest.raises(ConfigError, match="holds all of a model: no checkpoint"):
        load_inference(exported, teacher=True)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(CheckpointError, match=r"not the config of a Sa2VA \(KeyError: 'vision_config'\)"):
        load_inference(tmp_path)
    (tmp_path / "iter_3.pth").mkdir()
    (tmp_path / "config.json").unlink()
    with pytest.raises(ConfigError, match="has no config of its run"):
        load_inference(tmp_path)

"""What a run trained reaches a published layout, whole."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from sa2va_native.checkpoints.loading import named_tensors
from sa2va_native.checkpoints.sa2va_config import from_sa2va
from sa2va_native.engine.checkpoints.conversion import convert, open_any
from sa2va_native.errors import CheckpointError
from sa2va_native.files.paths import ROOT
from tests.tiny import tiny_batch, tiny_pseudo_gumbel, tiny_sa2va

BASE = str(ROOT / "assets/tiny/sa2va_tiny.safetensors")


def config():
    return Config.fromfile(ROOT / "configs/_base_/models/sa2va_tiny.py").model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A checkpoint of the method as MMEngine writes it, and its student; the teacher differs from it."""
    model, draw = tiny_pseudo_gumbel(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=draw), alpha=0.01)
    teacher = {n: p.detach().clone() + 0.01 for n, p in model.named_parameters() if p.requires_grad}
    path = tmp_path_factory.mktemp("run") / "iter_8.pth"
    torch.save({"state_dict": model.state_dict(), "ema_teacher": teacher, "meta": {"iter": 8}}, path)
    return str(path), model.student.eval()


def caption_logits(model):
    """In float64: logits of 20 in float32 are known to 1e-5 only."""
    model = copy.deepcopy(model).double()
    side, targets = tiny_batch().caption_side, [torch.arange(5, 12), torch.arange(20, 30)]
    with torch.no_grad():
        return model.caption_logits(model.encode_pictures(side), side.region, targets, targets)[0]


def test_a_run_as_a_sa2va_directory(tmp_path, run):
    """Loaded again, it is the model that was trained. Red when LoRA or a trained part stays behind."""
    path, student = run
    convert([open_any(BASE), open_any(path)], config(), "sa2va_hf", tmp_path / "sa2va", check=True)
    written = json.loads((tmp_path / "sa2va/config.json").read_text())
    assert from_sa2va(written)["mllm"]["text_config"]["hidden_size"] == 128
    model = tiny_sa2va(weights=str(tmp_path / "sa2va"), tokenizer=str(tmp_path / "sa2va"), lora=None).eval()
    torch.testing.assert_close(caption_logits(model), caption_logits(student), rtol=0, atol=1e-5)
    assert (caption_logits(tiny_sa2va()) - caption_logits(student)).abs().max() > 0.1


def test_what_a_run_trained_alone(tmp_path, run):
    """To start from with ``weights=[base, trained]``; here into other base weights than were trained on."""
    path, student = run
    convert([open_any(path)], config(), "trained", tmp_path / "trained.safetensors", check=True)
    model = tiny_sa2va(weights=[BASE, str(tmp_path / "trained.safetensors")])
    for name, tensor in named_tensors(model).items():
        assert torch.equal(tensor, named_tensors(student)[name]), name


def test_the_teacher_instead_of_the_student(tmp_path, run):
    path, student = run
    convert([open_any(BASE), open_any(path, "ema_teacher")], config(), "own", tmp_path / "own.safetensors", check=True)
    model = tiny_sa2va(weights=str(tmp_path / "own.safetensors"), lora=None)
    there, here = (m.mllm.lm_head.weight for m in (model, student))
    torch.testing.assert_close(there, here + 0.01, rtol=0, atol=1e-6)


def test_files_beside_published_weights_come_along(tmp_path, run):
    convert([open_any(BASE)], config(), "sa2va_hf", tmp_path / "base")
    (tmp_path / "base/modeling_sa2va_chat.py").write_text("# remote code\n")
    convert([open_any(str(tmp_path / "base")), open_any(run[0])], config(), "sa2va_hf", tmp_path / "trained")
    names = {file.name for file in (tmp_path / "base").iterdir()}
    assert {file.name for file in (tmp_path / "trained").iterdir()} == names


def test_nothing_is_overwritten(tmp_path):
    with pytest.raises(CheckpointError, match="already exists"):
        convert([open_any(BASE)], config(), "own", tmp_path)


def test_a_run_without_its_base_is_refused(tmp_path, run):
    with pytest.raises(CheckpointError, match="missing"):
        convert([open_any(_trained_only(tmp_path, run))], config(), "sa2va_hf", tmp_path / "sa2va")
    assert not (tmp_path / "sa2va").exists()


def test_lora_of_another_rank_is_refused(tmp_path, run):
    other = config()
    other.lora.r = 8
    with pytest.raises(CheckpointError, match="rank 16, but the config has rank 8"):
        convert([open_any(BASE), open_any(run[0])], other, "sa2va_hf", tmp_path / "sa2va")


def _trained_only(folder: Path, run) -> str:
    path = folder / "trained.safetensors"
    convert([open_any(run[0])], config(), "trained", path)
    return str(path)

"""On a CUDA device: what the CPU tests cannot see."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from benchmarks.train_step import noise
from pseudo_gumbel.captioners import StaticTeacherCaptioner, TeacherCaptioner
from pseudo_gumbel.teacher import EMATeacher
from sa2va_native.files.paths import ROOT
from tests.tiny import tiny_batch, tiny_pseudo_gumbel

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def test_a_cycle_step_is_the_one_of_the_cpu():
    """Same draws, same losses. Red when a draw depends on the device, or a tensor stays behind on the CPU."""
    model, batch = tiny_pseudo_gumbel(), tiny_batch(two_frames=True)
    here = model(batch, mode="loss")
    model.cuda()
    there = model(model.data_preprocessor.cast_data({"batch": batch})["batch"], mode="loss")
    for name, loss in here.items():
        torch.testing.assert_close(there[name].cpu(), loss, rtol=1e-3, atol=1e-4)


def test_a_recorded_step_captions_as_the_method_does():
    """Batch after batch, with captions that stop and that do not. Red when a CUDA graph reads what is gone."""
    model, captioner = tiny_pseudo_gumbel().cuda(), StaticTeacherCaptioner()
    model.teacher = EMATeacher(model)
    for size, tokens in ((4, 64), (1, 64), (3, 6), (1, 1)):
        model.student.max_new_tokens = tokens
        batch = model.data_preprocessor.cast_data({"batch": tiny_batch(batch=size, seed=size)})["batch"]
        pictures, region = model.begin(batch).pictures1, batch.caption_side.region
        said, expected = (one(model, pictures, region) for one in (captioner, TeacherCaptioner()))
        assert (said.padded.tolist(), said.stopped) == (expected.padded.tolist(), expected.stopped)
        for tensor in model.teacher.shadow.values():
            tensor.mul_(1.001)


def test_the_4b_model_takes_cycle_steps_in_bf16():
    """Random weights, true shapes; each trained part gets a gradient."""
    config = Config.fromfile(ROOT / "configs/pseudo_gumbel_4b.py").model
    config.sa2va.update(dtype="bfloat16", weights=None, max_new_tokens=16)
    with torch.device("cuda"):
        model = MODELS.build(config).train()
    losses = model(noise(model.student, 1, "cuda"), mode="loss")
    sum(loss for name, loss in losses.items() if "loss" in name).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    for name, parameters in model.gradient_groups().items():
        norms = [p.grad.float().norm() for p in parameters if p.grad is not None]
        assert torch.stack(norms).norm() > 0, name

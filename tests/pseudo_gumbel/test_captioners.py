"""A teacher whose LoRA is merged while it captions says the same, and leaves the student as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pseudo_gumbel.captioners import MergedTeacherCaptioner, TeacherCaptioner
from pseudo_gumbel.teacher import EMATeacher
from sa2va_native.models.adapters import lora_layers, lora_off
from tests.tiny import tiny_batch, tiny_pseudo_gumbel


@pytest.fixture(scope="module")
def model() -> Any:
    """With a teacher whose adapters change what it says, and are not the student's."""
    torch.manual_seed(0)  # of the adapters' other halves
    built = tiny_pseudo_gumbel(captioner=dict(type="MergedTeacherCaptioner")).train()
    built.teacher, draw = EMATeacher(built), torch.Generator().manual_seed(0)
    for name, tensor in built.teacher.shadow.items():
        if "lora_B" in name:
            tensor.normal_(std=0.03, generator=draw)
    return built


def said(captions: Any) -> list[list[int]]:
    return [ids.tolist() for ids in captions.ids]


def test_merged_captions_are_those_of_the_adapters(model: Any) -> None:
    """Red when adapters are merged twice or not at all, with the student's values or another scale."""
    region = (batch := tiny_batch(batch=4)).caption_side.region
    pictures = model.begin(batch).pictures1
    expected = TeacherCaptioner()(model, pictures, region)
    assert said(model.teacher_captions(pictures, region)) == said(expected)
    with lora_off(model):
        assert said(TeacherCaptioner()(model, pictures, region)) != said(expected)


@pytest.mark.parametrize("fails", [False, True])
def test_the_student_comes_back_bit_for_bit(model: Any, fails: bool) -> None:
    """Red when what was added is subtracted, which rounds, or a failure leaves merged weights behind."""
    batch = tiny_batch()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    addresses = [parameter.data_ptr() for parameter in model.parameters()]
    pictures, region = model.begin(batch).pictures1, batch.caption_side.region
    if fails:
        with pytest.raises(IndexError):
            model.teacher_captions(pictures, region[:, :0, :0])
    else:
        model.teacher_captions(pictures, region)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert [parameter.data_ptr() for parameter in model.parameters()] == addresses
    assert not any(layer.merged or layer.disable_adapters for layer in lora_layers(model))


def test_the_method_captions_unmerged() -> None:
    """Red when the specified method's captions come to depend on how bfloat16 rounds a sum of weights."""
    assert type(tiny_pseudo_gumbel().captioner) is TeacherCaptioner
    assert type(tiny_pseudo_gumbel(captioner=dict(type="MergedTeacherCaptioner")).captioner) is MergedTeacherCaptioner

"""A teacher that captions otherwise says the same, and leaves the student as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pseudo_gumbel.captioners import TeacherCaptioner, merged_teacher_captioner
from pseudo_gumbel.registry import CAPTIONERS
from pseudo_gumbel.teacher import EMATeacher
from sa2va_native.models.adapters import lora_layers, lora_off
from sa2va_native.models.decoding import growing
from tests.tiny import tiny_batch, tiny_pseudo_gumbel

OTHERS = ["MergedTeacherCaptioner", "StaticTeacherCaptioner"]


def taught(dtype: str = "float32") -> Any:
    """With a teacher whose adapters change what it says, and are not the student's."""
    torch.manual_seed(0)  # of the adapters' other halves
    built = tiny_pseudo_gumbel(sa2va=dict(dtype=dtype)).train()
    built.teacher, draw = EMATeacher(built), torch.Generator().manual_seed(0)
    for name, tensor in built.teacher.shadow.items():
        if "lora_B" in name:
            tensor.normal_(std=0.03, generator=draw)
    return built


@pytest.fixture(scope="module")
def trained() -> Any:
    return taught()


@pytest.fixture(params=OTHERS)
def model(trained: Any, request: pytest.FixtureRequest) -> Any:
    """With another captioner."""
    trained.captioner = CAPTIONERS.build(dict(type=request.param))
    return trained


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


@pytest.mark.parametrize("name", OTHERS)
def test_captions_are_the_same_in_bf16(name: str) -> None:
    """Of a model whose captions no rounding changes. Red when a captioner computes in another type."""
    model, batch = taught("bfloat16"), tiny_batch(batch=3)
    pictures, region = model.begin(batch).pictures1, batch.caption_side.region
    expected = said(model.teacher_captions(pictures, region))
    assert said(CAPTIONERS.build(dict(type=name))(model, pictures, region)) == expected


def test_batch_after_batch_is_captioned(trained: Any) -> None:
    """Of other sizes, with a teacher that moves. Red when keys, values or weights of the last batch are read again."""
    captioner, draw = CAPTIONERS.build(dict(type="StaticTeacherCaptioner")), torch.Generator().manual_seed(1)
    for size in (4, 1, 2):
        batch = tiny_batch(batch=size, seed=size)
        pictures, region = trained.begin(batch).pictures1, batch.caption_side.region
        assert said(captioner(trained, pictures, region)) == said(TeacherCaptioner()(trained, pictures, region))
        for tensor in trained.teacher.shadow.values():
            tensor.add_(1e-3 * torch.randn(tensor.shape, generator=draw))


def test_split_weights_are_captioned_as_ever(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when LoRA is merged into a slice, a step that gathers weights is recorded, or nobody is told."""
    batch, ways, told = tiny_batch(), [], list[str]()
    pictures, region = model.begin(batch).pictures1, batch.caption_side.region

    def caption(*given: Any) -> list[tuple[torch.Tensor, bool]]:
        ways.append((given[2], any(layer.merged for layer in lora_layers(model))))
        return [(region[0, 0], True)]

    monkeypatch.setattr(model.student, "caption", caption)
    monkeypatch.setattr(type(model.student), "is_partitioned", True)
    monkeypatch.setattr(merged_teacher_captioner, "print_log", lambda line, logger: told.append(line))
    for _ in range(2):
        model.teacher_captions(pictures, region)
    assert ways == [(growing, False)] * 2
    assert told == [f"{type(model.captioner).__name__}: ZeRO-3 splits the weights, so TeacherCaptioner captions"]


def test_the_method_captions_unmerged() -> None:
    """Red when the specified method's captions come to depend on how bfloat16 rounds a sum of weights."""
    assert type(tiny_pseudo_gumbel().captioner) is TeacherCaptioner
    for name in OTHERS:
        assert type(tiny_pseudo_gumbel(captioner=dict(type=name)).captioner).__name__ == name

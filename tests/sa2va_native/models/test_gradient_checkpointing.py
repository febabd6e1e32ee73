"""Activations computed again instead of kept: the same numbers, and generation goes on with its cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pseudo_gumbel.teacher import EMATeacher
from sa2va_native.structures import Kind
from tests.tiny import tiny_batch, tiny_pseudo_gumbel


def cycle_model(checkpointing: bool, dropout: float = 0.0, **overrides: Any) -> Any:
    lora = dict(r=16, lora_alpha=32, lora_dropout=dropout)
    torch.manual_seed(0)  # LoRA's own weights
    model = tiny_pseudo_gumbel(sa2va=dict(gradient_checkpointing=checkpointing, lora=lora), **overrides)
    return model.train()


def gradients(model: Any, kind: Kind = "cycle") -> dict[str, Tensor]:
    """Of all trained tensors, and of the words' embeddings."""
    torch.manual_seed(1)  # dropout
    losses = model(tiny_batch(kind), mode="loss")
    sum(value for name, value in losses.items() if "loss" in name).backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    if kind == "cycle":
        found["text_embeds"] = torch.tensor(model.text_embeds_grad_norm)
    return found


def assert_equal_gradients(kept: dict[str, Tensor], again: dict[str, Tensor]) -> None:
    assert kept.keys() == again.keys()
    for name in kept:
        assert torch.allclose(kept[name], again[name], rtol=1e-4, atol=1e-8), name


@pytest.mark.parametrize("kind", ["cycle", "refer"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_are_those_without(kind: Kind, dropout: float) -> None:
    """Red when the gradient ends at ``inputs_embeds``, or dropout draws anew when a layer is computed again."""
    kept = gradients(cycle_model(False, dropout), kind)
    assert_equal_gradients(kept, gradients(cycle_model(True, dropout), kind))
    assert float(kept.get("text_embeds", torch.ones(()))) > 0


def test_layers_are_computed_again() -> None:
    """Red when the keyword has no effect."""
    calls = {}
    for checkpointing in (False, True):
        model = cycle_model(checkpointing)
        mlp = model.student.language_model.layers[0].mlp
        counted: list[nn.Module] = []
        mlp.register_forward_pre_hook(lambda module, *_, counted=counted: counted.append(module))
        model(tiny_batch("refer"), mode="loss")["loss_lm"].backward()
        calls[checkpointing] = len(counted)
    assert calls == {False: 1, True: 2}


def test_the_teachers_mask_side_is_computed_again_with_the_teachers_weights() -> None:
    """Red when the backward pass computes the layers again after the teacher's weights are gone."""
    found = []
    for checkpointing in (False, True):
        model = cycle_model(checkpointing, reader=dict(type="TeacherReader"))
        model.teacher = EMATeacher(model)
        with torch.no_grad():
            for part in ("lora", "embeddings"):
                for parameter in model.student.part(part):
                    parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
        found.append(gradients(model))
    assert_equal_gradients(*found)


def test_captions_are_generated_with_the_cache() -> None:
    """Red when a checkpointed layer is asked to generate in training mode: transformers takes its cache away, so that
    each new word sees no other."""
    batch, captions = tiny_batch(), []
    for checkpointing in (False, True):
        model = cycle_model(checkpointing)
        lengths: list[int] = []
        layer = model.student.language_model.layers[0]
        layer.register_forward_pre_hook(lambda _, args, lengths=lengths: lengths.append(args[0].shape[1]))
        captions.append(
            model.teacher_captions(model.student.encode_pictures(batch.caption_side), batch.caption_side.region).ids
        )
        assert lengths[0] > 64
        assert set(lengths[1:]) == {1}, "a step reads one word, not the prompt again"
        assert layer.training, "generation must not leave the model in another mode"
    assert all(torch.equal(*pair) for pair in zip(*captions, strict=True))
    assert max(len(ids) for ids in captions[0]) > 1

"""Estimated activations against what autograd keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sa2va_native.engine.plan.activation_memory import (
    Shapes,
    activations,
    cache_bytes,
    grounding_bytes,
    language_bytes,
    logits_bytes,
    mixture_bytes,
    table_bytes,
)
from sa2va_native.engine.plan.model_info import shapes
from tests.tiny import tiny_pseudo_gumbel, tiny_qwen3, tiny_sa2va

SHAPES = Shapes(
    batch=2, layers=3, hidden=8, intermediate=20, query_width=8, key_value_width=4, vocabulary=100, head_norms=False,
    lora_rank=2, lora_dropout=True, map_width=16, map_side=4, kept_maps=51, caption_prompt=50, caption=10,
    segment_prompt=30, answer=5, mixed=7, tables=1,
)  # fmt: skip


def kept_bytes(forward: Callable[[], object], known: Iterable[Tensor]) -> int:
    """What autograd saves in a forward pass, each storage once, without ``known`` tensors."""
    spared = {tensor.untyped_storage().data_ptr() for tensor in known}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in spared:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()
    del result
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("build", [tiny_sa2va, tiny_qwen3])
@pytest.mark.parametrize(("dtype", "dropout"), [("float32", 0.0), ("bfloat16", 0.0), ("bfloat16", 0.05)])
def test_the_language_model_keeps_what_is_estimated(build: Callable[..., Any], dtype: str, dropout: float) -> None:
    """Red when a tensor of a layer is forgotten, frozen layers are taken to keep inputs, or heads to make up D."""
    model = build(dtype=dtype, lora=dict(r=16, lora_alpha=32, lora_dropout=dropout)).train()
    sizes, width = shapes(model, batch=2), model.dtype.itemsize
    embeds = torch.randn(2, 50, sizes.hidden, dtype=model.dtype, requires_grad=True)
    mask = torch.ones(2, 50, dtype=torch.long)
    kept = kept_bytes(
        lambda: model.language_model(inputs_embeds=embeds, attention_mask=mask, use_cache=False),
        [*model.parameters(), *model.buffers()],
    )
    expected = language_bytes(sizes, [50], width, checkpointing=False)
    if dropout:  # on the CPU its mask is as wide as an activation, on a GPU one byte
        expected += 2 * 50 * sizes.layers * (width - 1) * (5 * sizes.hidden + sizes.query_width + sizes.intermediate)
    assert kept == pytest.approx(expected, rel=0.05)


def test_sam2_keeps_what_is_estimated() -> None:
    model = tiny_sa2va()
    maps = tuple(torch.randn(2, 64, side, side) for side in (32, 16, 8))
    prompts = torch.randn(2, 64, requires_grad=True)
    known = [*model.parameters(), *model.buffers(), *maps]
    kept = kept_bytes(lambda: model.grounding(maps, prompts), known) + sum(level.nbytes for level in maps)
    assert kept == pytest.approx(grounding_bytes(shapes(model, batch=2), 4), rel=0.1)


def test_checkpointing_keeps_inputs_and_one_layer() -> None:
    """c D for each token and layer, and a whole layer of the longest pass."""
    whole = language_bytes(replace(SHAPES, layers=1), [30], 2, checkpointing=False)
    assert language_bytes(SHAPES, [20, 30], 2, checkpointing=True) == 2 * 50 * 3 * 2 * 8 + whole


def test_closed_forms() -> None:
    assert logits_bytes(SHAPES, 10, 2) == 2 * 10 * 100 * (2 + 4) * 2
    assert logits_bytes(SHAPES, 10, 4) == 2 * 10 * 100 * 4 * 2
    assert mixture_bytes(SHAPES, 2) == 2 * (2 * 10 * 7 * 8) * 2
    assert [table_bytes(SHAPES, 2, accumulating) for accumulating in (False, True)] == [0, 100 * 8 * 2]
    assert cache_bytes(SHAPES, 2) == 2 * 60 * 3 * (4 + 4) * 2


def test_a_cycle_keeps_both_of_its_passes() -> None:
    """Red when the graph from the mask to the caption is taken for two steps of one pass each."""
    sizes = {
        kind: {item.name: item.size for item in activations(SHAPES, kind, 2, False)}  # type: ignore[arg-type]
        for kind in ("cycle", "refer", "caption")
    }
    one, other = sizes["refer"]["language model"], sizes["caption"]["language model"]
    assert sizes["cycle"]["language model"] == one + other
    assert "SAM 2" not in sizes["caption"]
    assert "key-value cache" not in sizes["refer"]


def test_what_words_are_mixed_of_is_counted() -> None:
    """Red when a reading with gradient counts as one without, or several draws as one."""
    few = tiny_pseudo_gumbel(estimator=dict(type="SoftGumbel", draws=3, top_k=5))
    assert shapes(few, batch=1).mixed == 15
    assert shapes(tiny_pseudo_gumbel("word_trials_tiny"), batch=1).mixed == 0
    assert shapes(few.student, batch=1).mixed == 0

"""What DeepSpeed makes of a model."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from sa2va_native.engine.run.strategy import Sa2VADeepSpeedStrategy
from sa2va_native.parallel.unwrap import unwrap_model
from tests.ranks import run_ranks
from tests.tiny import tiny_batch, tiny_pseudo_gumbel


def _wrap(stage: int) -> tuple[dict, dict, list[float]]:
    """Tensors other than the parameters before and after, by name; then the losses in bf16 of a batch of each kind."""
    model = tiny_pseudo_gumbel()
    before = {name: tensor.clone() for name, tensor in _beside_parameters(model).items()}
    strategy = Sa2VADeepSpeedStrategy(
        config={"bf16": {"enabled": True}, "zero_optimization": {"stage": stage}},
        train_micro_batch_size_per_gpu=2,
    )
    strategy.prepare(
        model,
        optim_wrapper=dict(type="DeepSpeedOptimWrapper", optimizer=dict(type="AdamW", lr=1e-5)),
        dispatch_kwargs={},
    )
    wrapped: Any = strategy.model
    assert next(unwrap_model(wrapped).parameters()).dtype == torch.bfloat16
    losses = [wrapped.model(tiny_batch(kind), mode="loss") for kind in ("cycle", "refer")]
    values = [float(loss) for kind in losses for loss in kind.values()]
    return before, _beside_parameters(unwrap_model(wrapped)), values


def _beside_parameters(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Buffers, and tensors that are plain attributes of a module."""
    plain = {
        f"{name}.{key}": value
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, torch.Tensor)
    }
    return {**dict(model.named_buffers()), **plain}


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_only_parameters_become_bf16(stage: int) -> None:
    """Red when a rotary or position table is rounded with the weights: at position 300 an angle would be wrong by
    tenths of a radian, and a pretrained model would be damaged without a word. DeepSpeed 0.19.0 does that.
    """
    before, after, losses = run_ranks(1, _wrap, stage)[0]
    rotary = "student.mllm.model.language_model.rotary_emb"
    position = "student.grounding.sam2.shared_image_embedding.positional_embedding"
    rope = "student.grounding.sam2.memory_attention.rotary_emb.rope_embeddings_cos"
    assert {f"{rotary}.inv_freq", f"{rotary}.original_inv_freq", position, rope} <= before.keys() == after.keys()
    for name, tensor in before.items():
        assert after[name].dtype == torch.float32, name
        assert torch.equal(after[name], tensor), name
    assert all(map(math.isfinite, losses))

"""The page that tells how to add a base model."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from sa2va_native.engine.plan.model_info import components, shapes
from sa2va_native.files.paths import ROOT
from sa2va_native.models.protocols import MultimodalLanguageModel
from tests.tiny import tiny_batch

PAGE = (ROOT / "docs/extending/base_model.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """What the code of the page defines."""
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)
    return names


def test_the_class_has_every_member(page: dict[str, Any]) -> None:
    """Red when the protocol grows and the page does not."""
    wanted = {*vars(MultimodalLanguageModel), *MultimodalLanguageModel.__annotations__}
    wanted = {name for name in wanted if not name.startswith("_")}
    assert wanted <= vars(page["SiglipLlama"]).keys()


def test_the_model_of_the_page_takes_a_cycle_step(page: dict[str, Any]) -> None:
    """Red when a base model needs more than the page tells."""
    config = Config.fromfile(ROOT / "configs/pseudo_gumbel_tiny.py").model
    config.sa2va.update(mllm=page["mllm"], weights=None)
    torch.manual_seed(0)
    model = MODELS.build(config)
    parts = components(model)
    assert sum(part.parameters for part in parts.values()) == sum(p.numel() for p in model.parameters())
    assert parts["lora"].trainable_parameters > 0
    assert shapes(model.student, batch=1).query_width == 64
    losses = model(tiny_batch(two_frames=True), mode="loss")
    assert float(losses["silent_captions"]) < 1
    (losses["loss_mask"] + losses["loss_dice"]).backward()
    for name, parameters in model.gradient_groups().items():
        assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in parameters), name

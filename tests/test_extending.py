"""Code on the pages: it runs unchanged, or is a copy of the code."""

from __future__ import annotations

import re
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from pseudo_gumbel.registry import ESTIMATORS
from sa2va_native.files.paths import ROOT
from tests.tiny import tiny_batch


def code_of(page: str) -> str:
    """The first code block of a page."""
    text = (ROOT / "docs/extending" / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]


def test_the_estimator_of_the_page_takes_a_step() -> None:
    """Red when the page describes an outdated protocol."""
    names: dict[str, Any] = {"__name__": "best_of_two"}
    exec(compile(code_of("estimator.md"), "estimator.md", "exec"), names)
    try:
        config = Config.fromfile(ROOT / "configs/pseudo_gumbel_tiny.py").model
        config.estimator = dict(type="BestOfTwo")
        model = MODELS.build(config)
        losses = model(tiny_batch("cycle", 2), mode="loss")
    finally:
        ESTIMATORS.module_dict.pop("BestOfTwo")
    losses["loss_best"].backward()
    assert torch.isfinite(losses["loss_best"])
    assert float(losses["loss_best"].detach()) > 0
    assert any(p.grad is not None and p.grad.any() for p in model.gradient_groups()["lora"])


def test_the_readme_shows_the_step_as_it_is() -> None:
    """Red when ``cycle_loss`` changes and the README does not."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"## How it works\n\n```python\n(.*?)```", text, re.DOTALL)
    source = (ROOT / "projects/pseudo_gumbel/model.py").read_text(encoding="utf-8")
    body = source.partition("def cycle_loss")[2].partition("for regularizer")[0]
    statements = [line.partition("  # ")[0].strip() for line in body.splitlines()]
    assert [line.partition("  # ")[0] for line in shown.splitlines()] == [
        line for line in statements if line.startswith("step")
    ]

"""Learning rates of parts, without a line in the log for each tensor."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper

from sa2va_native.engine.run.quiet_constructor import QuietOptimWrapperConstructor
from tests.tiny import tiny_pseudo_gumbel


def build(model: Any, constructor: Any) -> Any:
    parts = {"mask_decoder": dict(lr_mult=0.1), "text_hidden_fcs": dict(lr_mult=0.1)}
    config = dict(type="OptimWrapper", constructor=constructor, optimizer=dict(type="AdamW", lr=1e-3))
    return build_optim_wrapper(model, {**config, "paramwise_cfg": dict(custom_keys=parts)})


def test_groups_are_mmengines_and_the_log_has_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when a rate is lost, or when frozen parameters fill the log again."""
    said: list[str] = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, "handle", lambda record: said.append(record.getMessage()))
    model = tiny_pseudo_gumbel()
    said.clear()
    quiet = build(model, QuietOptimWrapperConstructor).optimizer.param_groups
    (line,) = (one for one in said if "built from registry" not in one)
    assert "135 tensors at 0.0001" in line
    loud = build(model, "DefaultOptimWrapperConstructor").optimizer.param_groups
    assert len(said) > 300
    rates = [[(id(param), group["lr"]) for group in groups for param in group["params"]] for groups in (quiet, loud)]
    assert rates[0] == rates[1]

"""The learning-rate probe trains, and leaves no trace."""

from __future__ import annotations

from math import cos, exp, log, pi

import pytest
import torch
from mmengine.optim import CosineAnnealingLR, LinearLR
from torch import nn

from pseudo_gumbel.diagnosis.probe import Probe, moves, probe, rate_curve

WRAPPER = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=7.0), clip_grad=dict(max_norm=1.0))


def test_the_rates_are_those_of_the_run() -> None:
    """Against the closed form. Red when a schedule without an end does not end with the run."""
    schedule = [
        dict(type=LinearLR, start_factor=0.1, by_epoch=False, begin=0, end=10),
        dict(type=CosineAnnealingLR, eta_min=0.0, by_epoch=False, begin=10),
    ]
    curve = rate_curve(schedule, 50)
    assert curve[0] == pytest.approx(0.1)
    assert curve[30] == pytest.approx((1 + cos(pi * 20 / 40)) / 2)
    assert len(curve) == 50
    assert rate_curve([], 3) == [1.0] * 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_steps_are_taken_and_undone_bit_for_bit(dtype: torch.dtype) -> None:
    """SGD by hand. Red when a weight or gradient stays changed, or a step too small for bfloat16 is lost."""
    model = nn.Linear(3, 1, bias=False).to(dtype)
    nn.init.constant_(model.weight, 0.01)  # beside larger ones bfloat16 rounds the sum of the steps away
    frozen = nn.Parameter(torch.ones(1), requires_grad=False)
    model.frozen = frozen
    start = model.weight.detach().clone()
    direction = torch.tensor([1.0, 2.0, -1.0], dtype=dtype)

    def value() -> float:
        return float((model.weight.detach().float() @ direction.float()).sum())

    curve, lr = [0.5, 0.0, 1.0, 0.0], 1e-3
    found = probe(model, WRAPPER, curve, lr, [lambda: -(model.weight @ direction).sum()] * 2, value, 2)
    norm = float(direction.float().norm())
    assert found.after - found.before == pytest.approx(
        lr * (0.5 + 1.0) * norm, rel=0.01 if dtype is torch.float32 else 1
    )
    assert found.after > found.before
    assert torch.equal(model.weight, start)
    assert model.weight.grad is None
    assert model.training


def test_an_error_in_the_middle_leaves_no_trace() -> None:
    """Red when an interrupted probe leaves a trained model behind."""
    model = nn.Linear(2, 1)
    start = model.weight.detach().clone()
    calls = []

    def loss() -> torch.Tensor:
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("no memory")
        return model.weight.sum()

    with pytest.raises(RuntimeError, match="no memory"):
        probe(model, WRAPPER, [1.0] * 5, 0.1, [loss], lambda: 0.0, 5)
    assert torch.equal(model.weight, start)


def test_the_way_is_as_long_as_the_run() -> None:
    """Red when the steps of the probe are taken for those of the run."""
    found = Probe(1e-3, 20, log(0.1), log(0.1) + 0.2)
    assert found.at_the_end(100) == pytest.approx(0.1 * exp(1.0))
    assert found.at_the_end(10_000) == 1.0
    assert [moves(found, steps) for steps in (100, 200)] == [False, True]

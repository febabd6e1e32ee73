"""What does not fit the model, or is not finite, is refused by name before any of it is used."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sa2va_native.engine.checkpoints.contents import describe, require_restorable
from sa2va_native.engine.checkpoints.fitting import require_optimizer
from sa2va_native.engine.checkpoints.safe_load import load_file
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import CheckpointError
from tests.ranks import run_ranks
from tests.toy import ToyModel, toy_config


def stepped(model: torch.nn.Module) -> torch.optim.Optimizer:
    """An optimizer with moments."""
    optimizer = torch.optim.AdamW([param for param in model.parameters() if param.requires_grad])
    model(torch.ones(2, 8), torch.ones(2), mode="loss")["loss"].backward()
    optimizer.step()
    return optimizer


@pytest.fixture
def content() -> dict[str, Any]:
    """What the plain Runner writes, as far as it matters here."""
    model = ToyModel()
    optimizer = stepped(model)
    teacher = {name: param.detach().clone() for name, param in model.named_parameters() if param.requires_grad}
    return {"state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), "ema_teacher": teacher, "meta": {}}


def _nan(tensor: torch.Tensor) -> None:
    tensor.view(-1)[-1] = float("nan")


DAMAGES: dict[str, tuple[Callable[[dict], Any], str]] = {
    "a weight is missing": (lambda c: c["state_dict"].pop("head.1.bias"), r"lacks 1 tensors, e.g. head\.1\.bias"),
    "a frozen one": (lambda c: c["state_dict"].pop("frozen.bias"), r"lacks 1 tensors, e.g. frozen\.bias"),
    "one too many": (lambda c: c["state_dict"].update(more=torch.ones(1)), "has unknown 1 tensors, e.g. more"),
    "of another shape": (
        lambda c: c["state_dict"].update({"head.1.bias": torch.ones(1)}),
        r"head\.1\.bias with shape \(1,\) and this run trains it with \(8,\)",
    ),
    "not a tensor": (lambda c: c["state_dict"].update({"head.1.bias": 1}), r"head\.1\.bias with shape None"),
    "a weight is NaN": (lambda c: _nan(c["state_dict"]["adapter.weight"]), r"adapter\.weight is not finite"),
    "another model": (
        lambda c: c.update(state_dict={f"x.{k}": v for k, v in c["state_dict"].items()}),
        r"lacks 10 tensors, e.g. adapter\.bias",
    ),
    "whole numbers": (
        lambda c: c["state_dict"].update({"head.1.bias": torch.ones(8, dtype=torch.int8)}),
        r"head\.1\.bias is of type torch\.int8, not of floating point",
    ),
    "a name that forges a line": (
        lambda c: c["state_dict"].update({"more\nINFO": torch.ones(1)}),
        r"has unknown 1 tensors, e\.g\. more\\nINFO",
    ),
    "an optimizer of another make": (lambda c: c.update(optimizer=[]), "is not laid out as a run writes checkpoints"),
    "no weights": (lambda c: c.pop("state_dict"), "lacks 10 tensors"),
    "a moment is missing a row": (
        lambda c: c["optimizer"]["state"][0].update(exp_avg=torch.ones(7, 8)),
        r"exp_avg of the optimizer's parameter 0 has shape \(7, 8\) for \(8, 8\)",
    ),
    "a moment is infinite": (
        lambda c: next(iter(c["optimizer"]["state"].values()))["exp_avg_sq"].fill_(float("inf")),
        r"exp_avg_sq of the optimizer's parameter \d+ is not finite",
    ),
    "a group is missing a parameter": (
        lambda c: c["optimizer"]["param_groups"][0]["params"].pop(),
        r"has groups of \[7\] parameters and this run's \[8\]",
    ),
    "no teacher": (lambda c: c.pop("ema_teacher"), "holds no 'ema_teacher'"),
    "the teacher lacks a tensor": (
        lambda c: c["ema_teacher"].pop("adapter.bias"),
        r"\(ema_teacher\) does not fit the model: it has adapter\.bias with shape None",
    ),
    "a teacher of whole numbers": (
        lambda c: c["ema_teacher"].update({"adapter.bias": torch.ones(8, dtype=torch.int8)}),
        r"\(ema_teacher\): adapter\.bias is of type torch\.int8, not of floating point",
    ),
    "the teacher is NaN": (lambda c: _nan(c["ema_teacher"]["adapter.bias"]), r"\(ema_teacher\): adapter\.bias is not"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_dry_run_finds_what_does_not_fit(tmp_path: Path, content: dict, name: str) -> None:
    """On a model and an optimizer without values. Red when a run would begin with what a tensor was initialised to."""
    damage, said = DAMAGES[name]
    with torch.device("meta"):
        model = ToyModel()
    optimizer = torch.optim.AdamW([param for param in model.parameters() if param.requires_grad])
    path = str(tmp_path / "iter_1.pth")
    torch.save(content, path)
    require_restorable(path, model, optimizer, ["ema_teacher"])
    damage(content)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=f"iter_1.pth.*{said}"):
        require_restorable(path, model, optimizer, ["ema_teacher"])


def test_a_parameter_that_was_never_stepped_has_no_moments(content: dict) -> None:
    """Red when a part that no loss has reached yet keeps a run from going on."""
    assert set(content["optimizer"]["state"]) < set(content["optimizer"]["param_groups"][0]["params"])
    require_optimizer(content["optimizer"], stepped(ToyModel()), "x")


def test_what_is_inside_is_described(tmp_path: Path, content: dict) -> None:
    torch.save(content, tmp_path / "iter_1.pth")
    said = dict(describe(tmp_path / "iter_1.pth"))
    assert said["weights"] == "10 tensors, 231 values, float32, all finite"
    assert said["ema_teacher"] == "8 tensors, 159 values, float32, all finite"
    assert (said["optimizer"], said["run"]) == ("exp_avg, exp_avg_sq", "not named")


@pytest.mark.parametrize("content", [[1], {}, {"state_dict": None}, {"state_dict": {}, "meta": 5}])
def test_what_no_run_wrote_is_told(tmp_path: Path, content: Any) -> None:
    """Red when it ends in an AttributeError, or is said to be in order."""
    torch.save(content, tmp_path / "iter_1.pth")
    with pytest.raises(CheckpointError, match=r"iter_1\.pth is not laid out as a run writes checkpoints"):
        dict(describe(tmp_path / "iter_1.pth"))


def _train(work_dir: Path, stage: int, steps: int, resume: str | None, **options: Any) -> None:
    cfg = toy_config(work_dir, steps, checkpoint_interval=1, **options)
    cfg.launcher = "pytorch"
    launch.use_checkpoint(cfg, resume, None)
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "fp32")
    launch.build_runner(cfg).train()


def test_a_run_refuses_what_does_not_fit(tmp_path: Path) -> None:
    """Red when MMEngine's lenient load is all there is: it warns, and goes on with status 0."""
    run_ranks(1, _train, tmp_path, 0, 1, None)
    content = load_file(tmp_path / "iter_1.pth")
    for name in ("a weight is missing", "a moment is infinite"):
        damage, said = DAMAGES[name]
        changed = load_file(tmp_path / "iter_1.pth")
        damage(changed)
        torch.save(changed, tmp_path / "iter_1.pth")
        with pytest.raises(RuntimeError, match=said):
            run_ranks(1, _train, tmp_path, 0, 2, "")
        torch.save(content, tmp_path / "iter_1.pth")


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("key", ["exp_avg", "fp32"])
def test_a_deepspeed_run_refuses_what_is_not_finite(tmp_path: Path, stage: int, key: str) -> None:
    """Red when only the first rank's part is looked at, or padding, which may hold anything, is."""
    run_ranks(2, _train, tmp_path, stage, 1, None)
    file = tmp_path / "iter_1.pth/zero_pp_rank_1_mp_rank_00_optim_states.pt"
    content = load_file(file)
    state = content["optimizer_state_dict"]
    if key == "fp32":
        flat = state["fp32_flat_groups" if stage == 3 else "single_partition_of_fp32_groups"][0]
    else:
        inner = state["optimizer_state_dict" if stage == 3 else "base_optimizer_state"]
        flat = inner["state"][0][key]
    flat.data[0] = float("nan")
    torch.save(content, file)
    (tmp_path / "iter_1.pth/manifest.json").unlink()
    with pytest.raises(RuntimeError, match=re.escape(f"({key}) is not finite")):
        run_ranks(2, _train, tmp_path, stage, 2, "")

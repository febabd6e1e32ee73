"""The EMA teacher: its arithmetic, and that the student comes back exactly."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pseudo_gumbel.teacher import EMATeacher
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import CheckpointError
from sa2va_native.parallel.parameters import gather_slices, local_tensor
from sa2va_native.parallel.unwrap import unwrap_model
from tests.ranks import run_ranks
from tests.toy import ToyModel, toy_config


def make_student(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    student = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).to(dtype)
    student[0].requires_grad_(False)
    return student


def test_shadow_is_float32_and_of_trained_tensors_only() -> None:
    """Red for a deep copy of the model, or a shadow in the model's type."""
    teacher = EMATeacher(make_student(torch.bfloat16))
    assert teacher.shadow.keys() == {"1.weight", "1.bias"}
    assert {tensor.dtype for tensor in teacher.shadow.values()} == {torch.float32}


def test_teacher_holds_one_float32_copy_of_what_is_trained_and_nothing_else() -> None:
    """Red for a deep copy in addition to the shadow: 4.18 billion parameters that would only be read."""

    def tensors(value: Any) -> list[torch.Tensor]:
        if isinstance(value, nn.Module):
            return list(value.parameters())
        values = value.values() if isinstance(value, dict) else [value]
        return [one for one in values if torch.is_tensor(one)]

    student = make_student(torch.bfloat16)
    students = {param.data_ptr() for param in student.parameters()}
    held = [tensor for value in vars(EMATeacher(student)).values() for tensor in tensors(value)]
    own = [tensor for tensor in held if tensor.data_ptr() not in students]
    trained = sum(param.numel() for param in student.parameters() if param.requires_grad)
    assert sum(tensor.numel() * tensor.element_size() for tensor in own) == 4 * trained


def test_bf16_student_decay_matches_closed_form() -> None:
    """Red for an average in bf16, which with decay 0.999 never moves: after n steps 1 - 0.999^n of the way is gone."""
    student = make_student(torch.bfloat16)
    teacher = EMATeacher(student)
    with torch.no_grad():
        for param in student[1].parameters():
            param.zero_()
    start = {name: tensor.clone() for name, tensor in teacher.shadow.items()}
    for _ in range(1000):
        teacher.update(0.999)
    for name, tensor in teacher.shadow.items():
        torch.testing.assert_close(tensor, start[name] * 0.999**1000, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_student_comes_back_bitwise_also_after_an_error(dtype: torch.dtype) -> None:
    """Red for add-and-subtract exchanges, for a missing finally, and for an optimizer that lost its tensors."""
    student = make_student(dtype)
    teacher = EMATeacher(student)
    with torch.no_grad():
        student[1].weight.add_(1.0)
    before = {name: param.detach().clone() for name, param in student.named_parameters()}
    places = {name: param.data_ptr() for name, param in student.named_parameters()}
    x = torch.randn(5, 3, dtype=dtype)
    expected = nn.functional.linear(student[0](x), teacher.shadow["1.weight"].to(dtype), student[1].bias)

    def caption() -> None:
        with teacher.applied_to(student):
            assert torch.equal(student(x), expected)
            assert not torch.equal(student[1].weight, before["1.weight"])
            raise KeyError

    with pytest.raises(KeyError):
        caption()
    for name, param in student.named_parameters():
        assert torch.equal(param, before[name])
        assert param.data_ptr() == places[name], "an optimizer or a flat buffer would no longer own the tensor"


def test_exchange_between_forward_and_backward_keeps_the_gradient() -> None:
    """Red when autograd sees the teacher's weights: captioning may happen after the student's forward."""
    student = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    teacher = EMATeacher(student)
    with torch.no_grad():
        student[2].weight.mul_(3.0)
    x = torch.randn(5, 3)
    expected = torch.autograd.grad(student(x).square().sum(), list(student.parameters()))
    loss = student(x).square().sum()
    with torch.no_grad(), teacher.applied_to(student):
        student(x)
    got = torch.autograd.grad(loss, list(student.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))
    assert not any(tensor.requires_grad for tensor in teacher.shadow.values())


def test_autocast_casts_the_weights_in_use() -> None:
    """Red when a cast made of the teacher's weights serves the student, or the other way round: it is kept by name."""
    student = make_student()
    teacher = EMATeacher(student)
    with torch.no_grad():
        student[1].weight.mul_(3.0)
    x = torch.randn(5, 3)

    def say(who: list[str]) -> list[torch.Tensor]:
        said = []
        with torch.autocast("cpu", torch.bfloat16):
            for one in who:
                with torch.no_grad(), teacher.applied_to(student) if one == "teacher" else nullcontext():
                    said.append(student(x))
        return said

    (alone,), (taught,) = say(["student"]), say(["teacher"])
    assert not torch.equal(alone, taught)
    for expected, got in zip([alone, taught, alone], say(["student", "teacher", "student"]), strict=True):
        assert torch.equal(expected, got)


def test_state_round_trip() -> None:
    student = make_student()
    teacher, other = EMATeacher(student), EMATeacher(make_student())
    other.load_state_dict(teacher.state_dict())
    assert all(torch.equal(other.shadow[name], tensor) for name, tensor in teacher.shadow.items())
    assert other.shadow["1.weight"].data_ptr() != teacher.shadow["1.weight"].data_ptr()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("1.bias"), "lacks 1 of the 2 trained tensors, e.g. 1.bias"),
        (lambda state: state.update({"1.bias": state["1.bias"].char()}), r"1\.bias is of type torch\.int8"),
        (lambda state: state.update({"2.bias": torch.zeros(1)}), "does not train, e.g. 2.bias"),
        (
            lambda state: state.update({"1.bias": torch.zeros(7)}),
            r"1.bias has shape \(7,\) in the checkpoint and \(2,\)",
        ),
    ],
)
def test_state_that_does_not_fit_is_refused_and_changes_nothing(change: Any, message: str) -> None:
    """Red when two parameter lists are zipped without comparing names."""
    teacher = EMATeacher(make_student())
    state = {name: tensor + 1 for name, tensor in teacher.state_dict().items()}
    change(state)
    before = {name: tensor.clone() for name, tensor in teacher.shadow.items()}
    with pytest.raises(CheckpointError, match=message):
        teacher.load_state_dict(state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.shadow.items())


class Cycle(ToyModel):
    """Captions with the teacher inside its forward, before the student's own forward."""

    teacher: EMATeacher
    shown: torch.Tensor

    def forward(self, x: torch.Tensor, y: torch.Tensor, mode: str = "tensor") -> Any:
        self.x = x
        if hasattr(self, "teacher"):
            with torch.no_grad(), self.teacher.applied_to(self):
                self.shown = self.head(self.features(x.to(self.frozen.weight.dtype))).detach().clone()
        return super().forward(x, y, mode)


def _cycle(work_dir: Path, stage: int, precision: str, with_teacher: bool) -> dict[str, Any]:
    cfg = toy_config(work_dir, steps=3, batch_size=2, accumulation=2)
    cfg.model.type = f"{__name__}.Cycle"
    cfg.launcher = "pytorch"
    if stage:
        use_deepspeed(cfg, f"zero{stage}", precision)
    runner = launch.build_runner(cfg)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Watch:
        priority = 100

        def before_train(self, runner: Any) -> None:
            model: Any = unwrap_model(runner.model)
            if with_teacher:
                model.teacher = EMATeacher(model)
                for shadow in model.teacher.shadow.values():
                    shadow.mul_(-0.5)

        def after_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
            model: Any = unwrap_model(runner.model)
            if not with_teacher:
                return
            reference = ToyModel()
            reference.load_state_dict({**reference.state_dict(), **model.teacher.state_dict()})
            dtype = model.shown.dtype
            seen.append((model.shown, reference.to(dtype)(model.x.to(dtype), None).detach()))

    runner._hooks.append(Watch())
    runner.train()
    params = unwrap_model(runner.model).named_parameters()
    return {
        "seen": [(a.flatten(), b.flatten()) for a, b in seen],
        "student": {n: gather_slices(p, local_tensor(p)).detach().clone() for n, p in params},
    }


@pytest.mark.parametrize(("stage", "precision"), [(0, "fp32"), (2, "bf16"), (3, "fp32"), (3, "bf16")])
def test_exchange_inside_the_step_under_sharding(tmp_path: Path, stage: int, precision: str) -> None:
    """Red when ZeRO-3 computes with whole copies of the student that it kept or fetched ahead, or when the student
    does not come back."""
    with_teacher = run_ranks(2, _cycle, tmp_path, stage, precision, True)
    without = run_ranks(2, _cycle, tmp_path, stage, precision, False)
    tolerance = 1e-6 if precision == "fp32" else 2e-2
    for got, expected in zip(with_teacher, without, strict=True):
        assert len(got["seen"]) == 6
        for shown, reference in got["seen"]:
            torch.testing.assert_close(shown, reference, rtol=tolerance, atol=tolerance)
        assert all(torch.equal(got["student"][name], value) for name, value in expected["student"].items())


def _share_out(work_dir: Path, stage: int) -> dict[str, Any]:
    cfg = toy_config(work_dir, steps=1, batch_size=2)
    cfg.launcher = "pytorch"
    if stage:
        use_deepspeed(cfg, f"zero{stage}", "bf16")
    runner = launch.build_runner(cfg)
    runner.train()
    teacher = EMATeacher(unwrap_model(runner.model))
    for index, shadow in enumerate(teacher.shadow.values()):
        shadow.add_(1e-4 * index)  # lost, if it passes through bfloat16
    held, state = sum(shadow.numel() for shadow in teacher.shadow.values()), teacher.state_dict()
    state = {name: tensor + 1e-5 for name, tensor in state.items()}
    teacher.load_state_dict(state)
    return {"held": held, "state": state, "again": teacher.state_dict(), "weights": teacher.weights()}


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_ranks_share_the_copy_under_zero(tmp_path: Path, stage: int) -> None:
    """Red when each rank keeps everything under ZeRO, a share is another rank's, or a checkpoint holds bfloat16."""
    results = run_ranks(2, _share_out, tmp_path, stage)
    for result in results:
        sizes = [tensor.numel() for tensor in result["state"].values()]
        assert result["held"] <= (sum(-(-size // 2) for size in sizes) if stage else sum(sizes))
        for name, tensor in result["state"].items():
            assert torch.equal(result["again"][name], tensor)
            assert torch.equal(result["weights"][name], tensor.to(result["weights"][name].dtype))
            assert torch.equal(tensor, results[0]["state"][name])
    assert sum(result["held"] for result in results) == sum(sizes) * (1 if stage else 2)

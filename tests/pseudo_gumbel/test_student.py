"""What the cycle asks of a student, and who can be one."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from pseudo_gumbel.student import Student, StudentPrompts
from sa2va_native.files.paths import ROOT
from sa2va_native.models.internvl.model import InternVL
from sa2va_native.models.prompts import Prompts
from sa2va_native.models.protocols import Grounding, MultimodalLanguageModel
from sa2va_native.models.sa2va import Sa2VA
from sa2va_native.models.sam2.model import LanguageSam2
from tests.tiny import QWEN3, tiny_batch, tiny_sa2va


def members(protocol: type) -> set[str]:
    """Names that a protocol lists, in its body and as annotations."""
    names = {*vars(protocol), *inspect.get_annotations(protocol)}
    return {name for name in names if not name.startswith("_")} | ({"__call__"} & names)


@pytest.fixture(scope="module")
def sa2va() -> Sa2VA:
    return tiny_sa2va()


@pytest.mark.parametrize(
    ("protocol", "find", "own"),
    [
        (Student, lambda model: model, Sa2VA),
        (StudentPrompts, lambda model: model.prompts, Prompts),
        (MultimodalLanguageModel, lambda model: model.mllm, InternVL),
        (Grounding, lambda model: model.grounding, LanguageSam2),
    ],
)
def test_the_classes_are_what_the_protocols_say(sa2va, protocol, find, own) -> None:
    """Red when a member is missing, or takes other arguments. mypy holds the types, not what an untyped base brings."""
    part = find(sa2va)
    assert isinstance(part, own)
    for name in members(protocol):
        assert hasattr(part, name), name
        wanted = getattr(protocol, name, None)
        if inspect.isfunction(wanted) and name not in ("__call__", "named_parameters"):
            given = inspect.signature(getattr(own, name)).parameters
            asked = inspect.signature(wanted).parameters
            assert list(given)[: len(asked)] == list(asked), name


def uses(tree: ast.AST) -> Iterator[str]:
    """``a.b`` for each attribute of a name or attribute ``student``, and of its ``prompts``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            path = ast.unparse(node).split(".")
            for owner in ("student", "prompts"):
                if path[-2:-1] == [owner]:
                    yield f"{owner}.{path[-1]}"


def test_the_method_asks_for_nothing_else() -> None:
    """Red when the step begins to use a member of Sa2VA that the protocol does not list."""
    known = {"student": members(Student), "prompts": members(StudentPrompts)}
    found = {
        f"{file.name}: {use}"
        for file in (ROOT / "projects/pseudo_gumbel").rglob("*.py")
        for use in uses(ast.parse(file.read_text(encoding="utf-8")))
        if use.partition(".")[2] not in known[use.partition(".")[0]]
    }
    assert not found, sorted(found)


def test_a_cycle_step_with_another_language_model() -> None:
    """InternVL3.5's Qwen3 by config alone. Red when a fact about Qwen2 is outside the folder of InternVL."""
    config = Config.fromfile(ROOT / "configs/pseudo_gumbel_tiny.py").model
    config.sa2va.weights = None
    config.sa2va.mllm.text_config.update(QWEN3)
    torch.manual_seed(0)
    model = MODELS.build(config)
    attention = model.student.language_model.layers[0].self_attn
    assert (attention.q_proj.out_features, attention.q_norm.weight.shape) == (4 * 48, (48,))
    losses = model(tiny_batch(two_frames=True), mode="loss")
    assert float(losses["silent_captions"]) < 1
    (losses["loss_mask"] + losses["loss_dice"]).backward()
    for part, parameters in model.gradient_groups().items():
        assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in parameters), part

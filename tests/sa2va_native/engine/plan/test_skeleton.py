"""Models without memory, and checkpoints that are compared with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from safetensors.torch import load_file, save_file

from sa2va_native.checkpoints.importing import open_source
from sa2va_native.engine.plan.skeleton import build_skeleton, find_sa2va, try_import
from sa2va_native.engine.run import launch
from sa2va_native.errors import CheckpointError, ConfigError
from sa2va_native.files.paths import ROOT
from sa2va_native.models.sa2va import Sa2VA
from tests.tiny import tiny_sa2va

WEIGHTS = ROOT / "assets/tiny/sa2va_tiny.safetensors"
NAME = "text_hidden_fcs.0.bias"


@pytest.fixture(scope="module")
def skeleton() -> Sa2VA:
    return find_sa2va(build_skeleton(launch.read_config("configs/pseudo_gumbel_tiny.py")))


def test_a_skeleton_is_the_model_without_memory(skeleton: Sa2VA) -> None:
    """Red when weights are read, or a name, shape or what is trained differs from the real model."""
    assert all(tensor.is_meta for tensor in skeleton.state_dict().values())
    real = dict(tiny_sa2va().named_parameters())
    ours = dict(skeleton.named_parameters())
    assert {n: (p.shape, p.requires_grad) for n, p in ours.items()} == {
        n: (p.shape, p.requires_grad) for n, p in real.items()
    }


def test_the_config_keeps_its_weights() -> None:
    cfg = launch.read_config("configs/pseudo_gumbel_tiny.py")
    build_skeleton(cfg)
    assert cfg.model.sa2va.weights == "assets/tiny/sa2va_tiny.safetensors"


def test_another_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a Sa2VA, and holds none"):
        build_skeleton(Config({"model": {"type": "tests.toy.ToyModel"}}))


def test_shipped_weights_fit(skeleton: Sa2VA) -> None:
    """Red when LoRA's tensors or tied ones count as missing."""
    (report,) = try_import(skeleton, [open_source(WEIGHTS)])
    assert report.complete
    assert len(report.loaded) == len(load_file(WEIGHTS))


def test_nothing_is_read(skeleton: Sa2VA) -> None:
    source = open_source(WEIGHTS)

    def read() -> torch.Tensor:
        raise AssertionError("values were read")

    tensors = {name: tensor._replace(read=read) for name, tensor in source.tensors.items()}
    assert try_import(skeleton, [source._replace(tensors=tensors)])[0].complete


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop(NAME),
        lambda state: state.update({NAME: torch.zeros(5)}),
        lambda state: state.update({"text_hidden_fcs.9.bias": torch.zeros(5)}),
    ],
    ids=["missing", "reshaped", "unexpected"],
)
def test_what_a_load_refuses_is_refused_in_its_words(
    skeleton: Sa2VA, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    """Red when the dry run promises a load that then fails, or the reverse."""
    state = load_file(WEIGHTS)
    change(state)
    save_file(state, tmp_path / "changed.safetensors")
    with pytest.raises(CheckpointError) as real:
        tiny_sa2va(weights=str(tmp_path / "changed.safetensors"))
    with pytest.raises(CheckpointError) as dry:
        try_import(skeleton, [open_source(tmp_path / "changed.safetensors")])
    assert str(dry.value) == str(real.value)


def test_what_a_run_trained_goes_on_top(skeleton: Sa2VA, tmp_path: Path) -> None:
    """Red when trained tensors are compared with the model without LoRA."""
    trained = {n: p.detach() for n, p in tiny_sa2va().named_parameters() if p.requires_grad}
    save_file(trained, tmp_path / "trained.safetensors")
    base, top = try_import(skeleton, [open_source(WEIGHTS), open_source(tmp_path / "trained.safetensors")])
    assert base.complete
    assert len(top.loaded) == len(trained)
    lora = next(name for name in trained if "lora_A" in name)
    del trained[lora]
    save_file(trained, tmp_path / "trained.safetensors")
    with pytest.raises(CheckpointError, match=lora.replace(".", r"\.")):
        try_import(skeleton, [open_source(WEIGHTS), open_source(tmp_path / "trained.safetensors")])

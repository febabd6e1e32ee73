"""No tensor goes missing in silence."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sa2va_native.checkpoints.loading import load_weights, save_weights
from sa2va_native.errors import CheckpointError
from sa2va_native.files.paths import ROOT
from tests.tiny import tiny_sa2va

WEIGHTS = ROOT / "assets/tiny/sa2va_tiny.safetensors"


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_round_trip_is_bit_exact(tmp_path):
    """Buffers too. Red when they are left out."""
    source, target = net(), net()
    source(torch.randn(8, 3))
    save_weights(source, tmp_path / "net.safetensors")
    assert load_weights(target, tmp_path / "net.safetensors").complete
    for (name, a), b in zip(source.state_dict().items(), target.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_tied_tensors_are_stored_once_and_stay_tied(tmp_path):
    tied = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    tied[1].weight = tied[0].weight
    save_weights(tied, tmp_path / "tied.safetensors")
    assert list(load_file(tmp_path / "tied.safetensors")) == ["0.weight"]
    load_weights(tied, tmp_path / "tied.safetensors")
    assert tied[0].weight is tied[1].weight


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("0.bias"), "missing 1: 0.bias"),
        (lambda s: s.update(more=torch.zeros(1)), "unexpected 1: more"),
        (lambda s: s.update({"0.bias": torch.zeros(5)}), r"0.bias \(5,\) for \(4,\)"),
        (lambda s: s.update({"0.bia": s.pop("0.bias")}), "missing 1: 0.bias"),
    ],
)
def test_one_wrong_tensor_refuses_the_load_by_name(tmp_path, change, message):
    state = dict(net().state_dict())
    change(state)
    save_file(state, tmp_path / "net.safetensors")
    target = net()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_weights(target, tmp_path / "net.safetensors")
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())


def test_lora_before_base_weights_is_refused():
    """A failure that went unnoticed: LoRA renames every layer, and strict=False then loads no language model."""
    model = tiny_sa2va()
    assert any("lora_" in name for name, _ in model.named_parameters())
    with pytest.raises(CheckpointError, match=r"missing \d+.*language_model"):
        load_weights(model, WEIGHTS)


def test_base_weights_are_in_the_model_under_lora():
    """Red when LoRA is attached first, or base weights are re-initialised after loading."""
    model, state = tiny_sa2va(), load_file(WEIGHTS)
    assert model.load_report.complete
    weights = dict(model.named_parameters())
    for name in ("q_proj", "v_proj"):
        stored = state[f"mllm.model.language_model.layers.0.self_attn.{name}.weight"].float()
        held = weights[f"mllm.model.language_model.layers.0.self_attn.{name}.base_layer.weight"]
        assert torch.equal(stored, held)


@pytest.mark.parametrize("content", [None, b"", b"not a safetensors file"])
def test_an_absent_or_broken_file_is_named(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        load_weights(net(), path)

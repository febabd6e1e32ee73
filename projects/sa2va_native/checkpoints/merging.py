"""Merges LoRA into the weights that it adapts (arXiv:2106.09685)."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from sa2va_native.checkpoints.stored import Stored, StoredTensor
from sa2va_native.errors import CheckpointError

_A, _B = ".lora_A.default.weight", ".lora_B.default.weight"


def lora_rank(tensors: Stored) -> int | None:
    """r of the LoRA among ``tensors``; None without LoRA."""
    return next((tensor.shape[0] for name, tensor in tensors.items() if name.endswith(_A)), None)


def merge_lora(tensors: Stored, scaling: float) -> Stored:
    """The same model without LoRA: W + scaling * B A, computed in float32 or wider when it is read, in W's dtype.

    Args:
        tensors: under this project's names.
        scaling: ``lora_alpha / r``.

    Raises:
        CheckpointError: a layer's A, B or W is missing.
    """
    merged = {name: tensor for name, tensor in tensors.items() if ".lora_" not in name}
    for layer in {name.partition(".lora_")[0] for name in tensors if ".lora_" in name}:
        parts = (f"{layer}.weight", layer + _A, layer + _B)
        if missing := [name for name in parts if name not in tensors]:
            raise CheckpointError(f"LoRA of {layer}: {', '.join(missing)} is missing; give both base weights and LoRA")
        weight, a, b = (tensors[name] for name in parts)
        read = partial(_merge, weight, a, b, scaling)
        merged[parts[0]] = StoredTensor(parts[0], weight.shape, weight.dtype, read)
    return merged


def _merge(weight: StoredTensor, a: StoredTensor, b: StoredTensor, scaling: float) -> Tensor:
    full = weight.read()
    wide = torch.promote_types(full.dtype, torch.float32)
    return (full.to(wide) + scaling * (b.read().to(wide) @ a.read().to(wide))).to(full.dtype)

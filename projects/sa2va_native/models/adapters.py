"""Switches LoRA off, or merges it, temporarily."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import nn


def lora_layers(model: nn.Module) -> list[LoraLayer]:
    """The layers of a model that have LoRA adapters."""
    return [module for module in model.modules() if isinstance(module, LoraLayer)]


@contextmanager
def lora_off(model: nn.Module) -> Iterator[None]:
    """The model computes as if its adapters were 0 inside the context, exactly; all else that is trained stays.

    Adapters are scaled by 0 and still run, so that under ZeRO-3 the layers and their order stay the same, and no
    parameter's ``requires_grad`` changes, as it does with peft's own ``enable_adapters``.
    """
    scales = {layer: dict(layer.scaling) for layer in lora_layers(model)}
    try:
        for layer, scaling in scales.items():
            layer.scaling.update(dict.fromkeys(scaling, 0.0))
        yield
    finally:
        for layer, scaling in scales.items():
            layer.scaling.update(scaling)


@contextmanager
def lora_merged(model: nn.Module) -> Iterator[None]:
    """The model computes with its adapters merged into copies of the weights under them inside the context.

    Its layers then run without adapters: the same numbers up to rounding, which in bfloat16 can lose a small adapter.
    After it the model is as before, bit for bit: the weights are exchanged, not added to. Costs a copy of them. Use it
    under ``torch.no_grad()``, and not under ZeRO-3, where no rank has whole weights.
    """
    layers = lora_layers(model)
    weights: list[Any] = [layer.get_base_layer().weight for layer in layers]
    before = [weight.data for weight in weights]
    try:
        for layer, weight in zip(layers, weights, strict=True):
            weight.data = weight.data.clone()
            layer.merge()
        torch.clear_autocast_cache()  # its casts belong to a parameter, whatever tensor that holds by now
        yield
    finally:
        for layer, weight, own in zip(layers, weights, before, strict=True):
            weight.data = own
            layer.merged_adapters.clear()
        torch.clear_autocast_cache()

"""Switches LoRA off temporarily."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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

"""Other weights of the same model, which can temporarily replace its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from sa2va_native.engine.checkpoints.checkpointing import checkpoints_of
from sa2va_native.engine.checkpoints.fitting import require_finite
from sa2va_native.engine.checkpoints.weights import read_weights, require_path
from sa2va_native.engine.config.config_check import sa2va_config
from sa2va_native.errors import CheckpointError, ConfigError
from sa2va_native.parallel.parameters import trainable_parameters


class OtherWeights:
    """The tensors in which another model of the same classes differs; equal ones, such as frozen parts, are shared.

    Not under ZeRO, which owns the tensors.

    Args:
        model: whose tensors are replaced.
        other: the other model; it may be on another device.
    """

    def __init__(self, model: nn.Module, other: nn.Module) -> None:
        others = dict(_tensors(other))
        self._places = {
            name: tensor for name, tensor in _tensors(model) if not torch.equal(tensor.cpu(), others[name].cpu())
        }
        self._others = {name: others[name].detach().to(place.device) for name, place in self._places.items()}

    def __len__(self) -> int:
        return len(self._places)

    def touch(self, *parts: nn.Module) -> bool:
        """Whether a tensor of one of these submodules is replaced."""
        replaced = {id(place) for place in self._places.values()}
        return any(id(tensor) in replaced for part in parts for _, tensor in _tensors(part))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model computes with the other weights inside the context; afterwards it is itself bit for bit.

        Tensors are exchanged, not copied. Use it under ``torch.no_grad()``.
        """
        own = {name: place.data for name, place in self._places.items()}
        try:
            for name, place in self._places.items():
                place.data = self._others[name]
            torch.clear_autocast_cache()  # its casts belong to a parameter, whatever tensor that holds by now
            yield
        finally:
            for name, place in self._places.items():
                place.data = own[name]
            torch.clear_autocast_cache()


def build_stranger(cfg: Any, weights: Sequence[str] | None) -> nn.Module:
    """The Sa2VA of a config, with other weights, on the CPU.

    Args:
        cfg: config of the run.
        weights: a checkpoint of a run or its work dir, of whatever method trained the same parts; or base weights, as
            for ``--weights``. None: the config's own, with which a run begins.

    Raises:
        ConfigError: the model is not a Sa2VA, or its base weights are random.
        CheckpointError: the checkpoint lacks a trained tensor or does not fit.
    """
    model = sa2va_config(cfg)
    if model is None:
        raise ConfigError("the control 'stranger' needs a Sa2VA, and cfg.model holds none. Leave the control out.")
    run = weights is not None and len(weights) == 1 and _is_run(weights[0])
    if not model.get("weights") and (run or not weights):
        raise ConfigError(
            "the control 'stranger' with random base weights, which are drawn anew for each model: give base weights "
            "with --weights or --stranger, or leave the control out."
        )
    if run or not weights:
        stranger = MODELS.build(model)
        if weights:
            _load(stranger, weights[0])
        return stranger
    return MODELS.build({**model, "weights": list(weights)})


def _is_run(path: str) -> bool:
    return Path(path).name.startswith("iter_") or bool(checkpoints_of(path))


def _load(model: nn.Module, path: str) -> None:
    """Loads the trained tensors, whether the run's model is the Sa2VA or contains it."""
    state = read_weights(require_path(path))
    for name, param in trainable_parameters(model).items():
        found = next((key for key in (name, *_ending_with(name, state)) if key in state), None)
        if found is None or state[found].shape != param.shape:
            wrong = "lacks" if found is None else f"has a shape of {tuple(state[found].shape)} for"
            raise CheckpointError(f"stranger {path} {wrong} {name}. Give a run that trained the same parts.")
        require_finite([(name, state[found])], f"stranger {path}")
        param.data.copy_(state[found])


def _ending_with(name: str, state: dict[str, Tensor]) -> Iterator[str]:
    return (key for key in state if key.endswith(f".{name}"))


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return chain(model.named_parameters(), model.named_buffers())

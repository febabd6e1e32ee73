"""The model of a config without memory for its tensors, and whether checkpoints would fit it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import nn

from sa2va_native.checkpoints.importing import Source, import_base, import_trained
from sa2va_native.checkpoints.loading import LoadReport
from sa2va_native.checkpoints.stored import Stored
from sa2va_native.engine.config.config_check import sa2va_config
from sa2va_native.errors import ConfigError
from sa2va_native.models.prompts import ADDED_TOKENS
from sa2va_native.models.sa2va import Sa2VA


def build_skeleton(cfg: Any) -> nn.Module:
    """The model of a config on torch's meta device: shapes and types, no values; its weights are left out.

    Raises:
        ConfigError: it holds no Sa2VA.
    """
    cfg = Config({"model": copy.deepcopy(cfg.model)})
    settings = sa2va_config(cfg)
    if settings is None:
        raise ConfigError(f"model.type={cfg.model.get('type')}: not a Sa2VA, and holds none. Use a shipped config.")
    settings.weights = None
    with torch.device("meta"):
        return MODELS.build(cfg.model)


def find_sa2va(model: nn.Module) -> Sa2VA:
    """The Sa2VA that a model is or holds."""
    return next(module for module in model.modules() if isinstance(module, Sa2VA))


def try_import(model: Sa2VA, sources: Sequence[Source], allow_unexplained: bool = False) -> list[LoadReport]:
    """Load checkpoints into a model without memory: the code of a real load, with tensors of shapes alone.

    Raises:
        CheckpointError: they do not fit, as a real load would say.
    """
    empty = [source._replace(tensors=_without_values(source.tensors)) for source in sources]
    reports = []
    if base := [source for source in empty if not source.is_trained_part]:
        reports.append(import_base(_WithoutLora(model), base, model.vocabulary, len(ADDED_TOKENS), allow_unexplained))
    if trained := [source for source in empty if source.is_trained_part]:
        reports.append(import_trained(model, trained, allow_unexplained))
    return reports


def _without_values(stored: Stored) -> Stored:
    return {name: tensor._replace(read=_reader(tensor.shape)) for name, tensor in stored.items()}


def _reader(shape: tuple[int, ...]) -> Any:
    return lambda: torch.empty(shape, device="meta")


class _WithoutLora(nn.Module):
    """A model's tensors as they are before LoRA is attached."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        tensors = model.state_dict(keep_vars=True).items()
        self._tensors = {name: tensor for name, tensor in tensors if ".lora_" not in name}

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        return dict(self._tensors)

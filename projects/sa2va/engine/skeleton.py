"""The model of a config without memory for its tensors, and whether checkpoints would fit it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from projects.sa2va.checkpoints.importing import Source, import_base, import_trained
from projects.sa2va.checkpoints.loading import LoadReport
from projects.sa2va.checkpoints.stored import Stored
from projects.sa2va.errors import ConfigError
from projects.sa2va.models.prompts import ADDED_TOKENS
from projects.sa2va.models.sa2va import Sa2VA


def build_skeleton(model: dict[str, Any]) -> nn.Module:
    """The model of a config on torch's meta device: shapes and types, no values; its weights are left out."""
    model = copy.deepcopy(model)
    sa2va_settings(model)["weights"] = None
    with torch.device("meta"):
        return MODELS.build(model)


def sa2va_settings(model: dict[str, Any]) -> dict[str, Any]:
    """The part of a model's config that is Sa2VA's own: the whole, or that of a student inside.

    Raises:
        ConfigError: there is none.
    """
    found = _with_internvl(model)
    if found is None:
        raise ConfigError(f"model.type={model.get('type')}: no dict of this model has `internvl`, so it holds no Sa2VA")
    return found


def _with_internvl(entry: Any) -> dict[str, Any] | None:
    if not isinstance(entry, dict):
        return None
    if "internvl" in entry:
        return entry
    return next((found for value in entry.values() if (found := _with_internvl(value)) is not None), None)


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
        reports.append(import_base(_Names(model, lora=False), base, len(ADDED_TOKENS), allow_unexplained))
    if trained := [source for source in empty if source.is_trained_part]:
        reports.append(import_trained(_Names(model), trained, allow_unexplained))
    return reports


def _without_values(stored: Stored) -> Stored:
    return {name: replace(tensor, read=_reader(tensor.shape)) for name, tensor in stored.items()}


def _reader(shape: tuple[int, ...]) -> Any:
    return lambda: torch.empty(shape, device="meta")


class _MetaTensor(Tensor):
    """A tensor without memory that, unlike torch's own, can be told from another one by its address."""

    def data_ptr(self) -> int:
        return self.untyped_storage()._cdata


class _Names(nn.Module):
    """The tensors of a model as one that loads sees them; without LoRA as they are before it is attached."""

    def __init__(self, model: nn.Module, lora: bool = True) -> None:
        super().__init__()
        self._tensors = {
            name: tensor.as_subclass(_MetaTensor)
            for name, tensor in model.state_dict(keep_vars=True).items()
            if lora or ".lora_" not in name
        }

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        return dict(self._tensors)

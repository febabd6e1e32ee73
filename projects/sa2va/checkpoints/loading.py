"""Weights into a model, with a report that leaves nothing unexplained."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.logging import print_log
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from projects.sa2va.errors import CheckpointError
from projects.sa2va.paths import resolve

_EXAMPLES = 5


@dataclass
class LoadReport:
    """What became of each tensor of a file and of each tensor of the model."""

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Every tensor of the model was loaded and every tensor of the file was used."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        lines = []
        for outcome in ("loaded", "missing", "unexpected", "mismatched"):
            names: list[str] = getattr(self, outcome)
            if names:
                parts = Counter(".".join(name.split(".")[:3]) for name in names)
                counts = ", ".join(f"{part} {count}" for part, count in sorted(parts.items()))
                examples = "" if outcome == "loaded" else f" (e.g. {', '.join(names[:_EXAMPLES])})"
                lines.append(f"{outcome} {len(names)}: {counts}{examples}")
        return "\n".join(lines)


def load_weights(model: nn.Module, path: Path) -> LoadReport:
    """Fill ``model`` from a safetensors file, cast to the model's own dtype.

    Tied tensors are stored once; the file holds the name that :func:`save_weights` wrote.

    Raises:
        CheckpointError: the file is missing or unreadable, or a tensor is missing, unexpected or of another shape.
    """
    path = resolve(path)
    if not path.is_file():
        raise CheckpointError(f"weights {str(path)!r}: no such file; give a .safetensors file or weights=None")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"weights {str(path)!r}: not a readable safetensors file ({error})") from error
    report = LoadReport()
    own = _untied(model)
    for name, tensor in own.items():
        if name not in state:
            report.missing.append(name)
        elif state[name].shape != tensor.shape:
            report.mismatched.append(f"{name} {tuple(state[name].shape)} for {tuple(tensor.shape)}")
        else:
            report.loaded.append(name)
    report.unexpected = sorted(state.keys() - own.keys())
    if not report.complete:
        raise CheckpointError(
            f"weights {str(path)!r} do not fit the model:\n{report}\n"
            "Use the config that the weights were made with, and load base weights before LoRA is attached."
        )
    with torch.no_grad():
        for name in report.loaded:
            own[name].copy_(state[name])
    print_log(f"{path.name}: {report}", logger="current")
    return report


def save_weights(model: nn.Module, path: Path, dtype: torch.dtype | None = None) -> None:
    """Write all tensors of ``model`` to a safetensors file; floating ones as ``dtype`` if given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, tensor in _untied(model).items():
        cast = tensor.detach().cpu()
        tensors[name] = (cast.to(dtype) if dtype and cast.is_floating_point() else cast).contiguous().clone()
    save_file(tensors, path)


def _untied(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of ``model`` by name, each storage once."""
    seen: set[int] = set()
    tensors = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            tensors[name] = tensor
    return tensors

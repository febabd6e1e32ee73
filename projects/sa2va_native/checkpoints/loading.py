"""Loads weights into a model, with a report that leaves nothing unexplained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from rich.console import Console
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor, nn

from sa2va_native.checkpoints.stored import Stored, open_checkpoint
from sa2va_native.errors import CheckpointError
from sa2va_native.files.modes import make_ordinary
from sa2va_native.files.paths import resolve
from sa2va_native.parallel.parameters import is_finite

_EXAMPLES = 5
_SHOWN = 2**28  # bytes; less is read at once


@dataclass
class LoadReport:
    """What happened to each tensor of a checkpoint and to each tensor of the model."""

    loaded: list[str] = field(default_factory=list)
    grown: list[str] = field(default_factory=list)  #: loaded, with rows for new tokens
    fresh: list[str] = field(default_factory=list)  #: of a part that no checkpoint holds, initialised
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Every tensor of the model has its value and every tensor of the file was used."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        lines = []
        for outcome in ("loaded", "grown", "fresh", "missing", "unexpected", "mismatched"):
            names: list[str] = getattr(self, outcome)
            if names:
                parts = Counter(".".join(name.split()[0].split(".")[:3]) for name in names)
                counts = ", ".join(f"{part} {count}" for part, count in sorted(parts.items()))
                examples = "" if outcome == "loaded" else f" (e.g. {', '.join(names[:_EXAMPLES])})"
                lines.append(f"{outcome} {len(names)}: {counts}{examples}")
        return "\n".join(lines)


def load_weights(model: nn.Module, path: Path) -> LoadReport:
    """Fill ``model`` from a file in the model's own names, cast to the model's own dtype.

    Tied tensors are stored once; the file holds the name that :func:`save_weights` wrote.

    Raises:
        CheckpointError: the file is missing or unreadable, or a tensor is missing, unexpected or of another shape.
    """
    path = resolve(path)
    stored, own = open_checkpoint(path), named_tensors(model)
    report = compare(own, stored)
    report.missing = sorted(own.keys() - stored.keys())
    report.unexpected = sorted(stored.keys() - own.keys())
    require_complete(report, str(path), "Use the config that the weights were made with.")
    fill(own, stored, report)
    print_log(f"{path.name}: {report}", logger="current")
    return report


def compare(own: dict[str, Tensor], stored: Stored, new_rows: int = 0, growing: Collection[str] = ()) -> LoadReport:
    """Which stored tensors fit those of the model in shape and kind; names of one side alone are left to the caller.

    Args:
        own: :func:`named_tensors` of the model.
        stored: tensors by the model's names.
        new_rows: how many more rows than stored the tensors in ``growing`` may have, for added tokens.
        growing: names of embedding tables and heads, whose rows are tokens.
    """
    report = LoadReport()
    for name in own.keys() & stored.keys():
        have, want = stored[name].shape, tuple(own[name].shape)
        if own[name].is_floating_point() and not stored[name].dtype.is_floating_point:
            what = str(stored[name].dtype).removeprefix("torch.")  # quantised, or complex: other numbers than these
            report.mismatched.append(f"{name} {what} for floating point (there: {stored[name].name})")
        elif have == want:
            report.loaded.append(name)
        elif name in growing and have[1:] == want[1:] and 0 < want[0] - have[0] <= new_rows:
            report.grown.append(name)
        else:
            report.mismatched.append(f"{name} {have} for {want} (there: {stored[name].name})")
    for names in (report.loaded, report.grown, report.mismatched):
        names.sort()
    return report


def require_complete(report: LoadReport, where: str, remedy: str) -> None:
    """Refuses what the report cannot explain.

    Raises:
        CheckpointError: a tensor is missing, unexpected or of another shape.
    """
    if not report.complete:
        raise CheckpointError(f"weights {where!r} do not fit the model:\n{report}\n{remedy}")


@torch.no_grad()
def fill(own: dict[str, Tensor], stored: Stored, report: LoadReport) -> None:
    """Copy what the report calls loaded or grown, one tensor at a time.

    Raises:
        CheckpointError: a tensor is NaN or infinite.
    """
    names = [*report.loaded, *report.grown]
    hidden = not is_main_process() or sum(own[name].nbytes for name in names) < _SHOWN
    for name in track(names, "reading weights", console=Console(stderr=True), transient=True, disable=hidden):
        tensor = stored[name].read()
        if not is_finite(tensor):
            raise CheckpointError(
                f"weights: {name} (there: {stored[name].name}) holds NaN or infinity. Download or export them again."
            )
        own[name].copy_(tensor if name not in report.grown else grow_rows(tensor, len(own[name])))


def grow_rows(table: Tensor, rows: int) -> Tensor:
    """A table [n, D] with more ``rows``, each the mean of the others: a new token means nothing yet."""
    return torch.cat([table, table.mean(0, dtype=torch.float32).to(table.dtype).expand(rows - len(table), -1)])


def save_weights(model: nn.Module, path: Path, dtype: torch.dtype | None = None) -> None:
    """Write all tensors of ``model`` to a safetensors file; floating ones as ``dtype`` if given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, tensor in named_tensors(model).items():
        cast = tensor.detach().cpu()
        tensors[name] = (cast.to(dtype) if dtype and cast.is_floating_point() else cast).contiguous().clone()
    save_file(tensors, path)
    make_ordinary(path)


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of ``model`` by name, each storage once; a layer under LoRA keeps the name it has without."""
    seen: set[tuple[int, int]] = set()
    tensors = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        # Not data_ptr(), which is 0 for every tensor on the meta device.
        place = tensor.untyped_storage()._cdata, tensor.storage_offset()
        if place not in seen:
            seen.add(place)
            tensors[without_lora(name)] = tensor
    return tensors


def without_lora(name: str) -> str:
    """The name of a tensor in the model without LoRA; peft puts the layer that it adapts one level deeper."""
    return name.replace(".base_layer.", ".")

"""Loads published checkpoints, and those of runs, into the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.logging import print_log
from torch import nn

from sa2va_native.checkpoints.layouts import ADVICE, SEG_HEAD, TWINS, Layout, detect
from sa2va_native.checkpoints.loading import LoadReport, compare, fill, named_tensors, require_complete, without_lora
from sa2va_native.checkpoints.stored import Stored, open_checkpoint
from sa2va_native.checkpoints.translate import flipped, plan, translate
from sa2va_native.errors import CheckpointError
from sa2va_native.files.paths import resolve

#: Sa2VA's own part, which neither InternVL nor SAM 2 has: it starts untrained if no checkpoint holds it.
NEW_PARTS = (SEG_HEAD,)
_REMEDY = (
    "Nothing was loaded. Give weights that belong to the config, base weights of every part (InternVL and SAM 2, or "
    "Sa2VA), or set model.allow_unexplained=True to continue without them."
)


class Source(NamedTuple):
    """One checkpoint, opened."""

    path: str
    layout: Layout
    tensors: Stored  #: under this project's names
    unexplained: list[str]  #: names that the layout does not know

    @property
    def is_trained_part(self) -> bool:
        """Whether it holds only what a run trained, to be put on top of base weights and LoRA."""
        return not self.layout.covers or any(".lora_A." in name for name in self.tensors)


def open_source(path: str | Path) -> Source:
    """Open a checkpoint and recognise its layout.

    Raises:
        CheckpointError: it cannot be read, or its layout is unknown.
    """
    path = resolve(Path(path))
    return source_of(open_checkpoint(path), str(path))


def source_of(stored: Stored, path: str) -> Source:
    """Recognise the layout of opened tensors.

    What DistributedDataParallel and ``torch.compile`` put into names is removed. In a run of a model that contains this
    one, all names share a prefix, which is removed too.

    Raises:
        CheckpointError: the layout is unknown, or two tensors have one name then.
    """
    names = without_wrappers(stored)
    if twice := [name for name, count in Counter(names.values()).items() if count > 1]:
        both = " and ".join(name for name, ours in names.items() if ours == twice[0])
        raise CheckpointError(f"weights {path!r}: {both} are one tensor ({len(twice)} such); leave out one of each.")
    stored = {names[name]: tensor for name, tensor in stored.items()}
    try:
        layout = detect(stored, path)
    except CheckpointError as unknown:
        if len({name.partition(".")[0] for name in stored}) > 1:
            raise
        stored = {name.partition(".")[2]: tensor for name, tensor in stored.items()}
        try:
            layout = detect(stored, path)
        except CheckpointError:
            raise unknown from None  # with the names in the file
    tensors, unexplained = translate(stored, layout.rules)
    tensors = {name: tensor for name, tensor in tensors.items() if TWINS.get(name) not in tensors}
    return Source(path, layout, tensors, unexplained)


def without_wrappers(names: Iterable[str]) -> dict[str, str]:
    """Each name -> itself without LoRA, without ``_orig_mod.``, and without ``module.`` if that is before all."""
    found = {name: without_lora(name.replace("_orig_mod.", "")) for name in names}
    while found and all(name.startswith("module.") for name in found.values()):
        found = {name: ours.removeprefix("module.") for name, ours in found.items()}
    return found


def overlay(sources: Sequence[Source]) -> Stored:
    """All tensors under this project's names; a later source wins, except for what training cannot change."""
    tensors: Stored = {}
    for source in sources:
        constant = {name: tensors[name] for name in TWINS.values() if name in tensors}
        tensors |= source.tensors | constant
    return tensors


def import_base(
    model: nn.Module,
    sources: Sequence[Source],
    vocabulary: Collection[str],
    new_tokens: int,
    allow_unexplained: bool = False,
) -> LoadReport:
    """Fill a model that has no LoRA yet.

    Args:
        model: :class:`sa2va_native.models.Sa2VA`.
        sources: checkpoints that together hold every part; a later one wins.
        vocabulary: names of the model's tensors whose rows are tokens.
        new_tokens: how many tokens were added to the base model's tokenizer.
        allow_unexplained: continue even if a tensor is missing, unexpected or of another shape.

    Raises:
        CheckpointError: there is such a tensor, and it is not allowed.
    """
    own = named_tensors(model)
    held = tuple(part for source in sources for part in source.layout.covers)
    new = {name for name in own if name.startswith(NEW_PARTS) and not name.startswith(held)}
    return import_tensors(own, sources, own.keys() - new, new, vocabulary, new_tokens, allow_unexplained)


def import_trained(model: nn.Module, sources: Sequence[Source], allow_unexplained: bool = False) -> LoadReport:
    """Put what a run trained on top of base weights and LoRA.

    Raises:
        CheckpointError: a tensor that the model trains is missing, or as :func:`import_base`.
    """
    own = named_tensors(model)
    needed = {name for name, tensor in own.items() if tensor.requires_grad}
    return import_tensors(own, sources, needed, allow_unexplained=allow_unexplained)


def import_tensors(
    own: dict[str, torch.Tensor],
    sources: Sequence[Source],
    needed: Collection[str],
    new: Collection[str] = (),
    vocabulary: Collection[str] = (),
    new_rows: int = 0,
    allow_unexplained: bool = False,
) -> LoadReport:
    """Fill ``own`` from checkpoints, which must hold what is ``needed`` and nothing that the model lacks.

    Tensors that are ``new`` keep their initial values if no checkpoint holds them; tensors of the ``vocabulary`` may
    lack ``new_rows`` rows.
    """
    stored = overlay(sources)
    report = compare(own, stored, new_rows, vocabulary)
    report.missing = [_with_names_there(name, sources) for name in sorted(needed - stored.keys())]
    report.fresh = sorted(set(new) - stored.keys())
    report.unexpected = [name for source in sources for name in source.unexplained]
    report.unexpected += [f"{name} (there: {stored[name].name})" for name in sorted(stored.keys() - own.keys())]
    where = ", ".join(source.path for source in sources)
    if not allow_unexplained:
        require_complete(report, where, "".join(advice(report.unexpected) for advice in ADVICE) + _REMEDY)
    titles = ", ".join(f"{source.path} ({source.layout.title})" for source in sources)
    size = sum(own[name].nbytes for name in report.loaded) / 2**30
    print_log(f"reading {len(report.loaded):,} tensors, {size:.2f} GiB, from {titles}", logger="current")
    fill(own, stored, report)
    print_log(f"weights from {titles}:\n{report}", logger="current")
    return report


def _with_names_there(name: str, sources: Sequence[Source]) -> str:
    """A missing tensor, with the names that it would have in the checkpoint."""
    for source in sources:
        steps, _ = plan([name], flipped(source.layout.rules))
        if name.startswith(source.layout.covers or ("",)) and steps:
            there = " ".join(steps[0].target)
            return name if there == name else f"{name} (there: {there})"
    return name


@torch.no_grad()
def allocate(model: nn.Module, dtype: torch.dtype) -> None:
    """Casts all parameters to ``dtype``; those on the meta device get memory but no values. Buffers are unchanged."""
    for module in model.modules():
        for name, param in module.named_parameters(recurse=False):
            if param.is_meta:
                setattr(module, name, nn.Parameter(torch.empty(param.shape, dtype=dtype), param.requires_grad))
            else:
                param.data = param.data.to(dtype)

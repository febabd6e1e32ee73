"""Converts checkpoints, published ones and those of runs, to another layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from sa2va_native.checkpoints.exporting import differences, export
from sa2va_native.checkpoints.importing import Source, open_source, overlay, source_of
from sa2va_native.checkpoints.layouts import LAYOUTS
from sa2va_native.checkpoints.loading import compare, grow_rows, named_tensors, require_complete
from sa2va_native.checkpoints.merging import lora_rank, merge_lora
from sa2va_native.checkpoints.sa2va_config import to_sa2va
from sa2va_native.checkpoints.stored import Stored, StoredTensor, in_memory
from sa2va_native.engine.checkpoints.checkpointing import checkpoints_of, is_run_checkpoint
from sa2va_native.engine.checkpoints.weights import read_weights, require_path
from sa2va_native.engine.plan.skeleton import build_skeleton, find_sa2va
from sa2va_native.errors import CheckpointError
from sa2va_native.files.paths import resolve
from sa2va_native.models.prompts import ADDED_TOKENS
from sa2va_native.models.tokenizer import load_tokenizer

#: What can be written: every layout, and what was trained, with LoRA separate, in this project's names.
TARGETS = (*LAYOUTS, "trained")
_TRAINED = ("trained", "sa2va_xtuner")
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".index.json")


def open_any(path: str, key: str | None = None) -> Source:
    """A published checkpoint, or one of a run, by its path or as the newest of a work dir.

    Args:
        path: of the checkpoint or the work dir.
        key: as in :func:`read_weights`.

    Raises:
        CheckpointError: it cannot be read, or holds nothing under ``key``.
    """
    folder = resolve(Path(path))
    if key or (folder.is_dir() and (is_run_checkpoint(folder) or checkpoints_of(folder))):
        path = require_path(folder)
        return source_of(in_memory(read_weights(path, key)), path)
    return open_source(folder)


def convert(
    sources: Sequence[Source],
    model: dict[str, Any],
    target: str,
    path: Path,
    dtype: torch.dtype | None = None,
    max_shard_size: str = "5GB",
    check: bool = False,
) -> None:
    """Write all that the sources hold in another layout; later sources override earlier ones.

    LoRA is merged unless the target is what was trained.

    Args:
        sources: from :func:`open_any`.
        model: config of :class:`sa2va_native.models.Sa2VA`, whose tensors the result must have, and no others.
        target: one of :data:`TARGETS`.
        path: directory or file that does not exist yet.
        dtype: for floating tensors; None leaves them unchanged.
        max_shard_size: largest file of a directory.
        check: read the result back and compare it bit for bit.

    Raises:
        CheckpointError: ``path`` exists, a tensor is missing, unexpected or of another shape, or the check fails.
    """
    if path.exists():
        raise CheckpointError(f"{path} already exists: nothing is overwritten, choose another name")
    layout = LAYOUTS["own" if target == "trained" else target]
    tensors = _wanted(overlay(sources), model, target)
    export(tensors, layout, path, dtype, max_shard_size)
    if layout.name == "sa2va_hf":
        _write_config(sources, model, path)
    if check and (different := differences(path, tensors, layout, dtype)):
        raise CheckpointError(f"{path}: {len(different)} tensors differ from what was to be written: {different[:5]}")


def _wanted(tensors: Stored, model: dict[str, Any], target: str) -> Stored:
    """The tensors of the target, checked against the model."""
    sa2va = find_sa2va(build_skeleton(Config({"model": model})))
    own = named_tensors(sa2va)
    if target in _TRAINED:
        wanted = {name for name, tensor in own.items() if tensor.requires_grad}
    else:
        if rank := lora_rank(tensors):
            lora = model.get("lora") or {}
            if lora.get("r") != rank:
                raise CheckpointError(
                    f"LoRA of rank {rank}, but the config has rank {lora.get('r')}: give the run's --config"
                )
            tensors = merge_lora(tensors, lora["lora_alpha"] / rank)
        wanted = {name for name in own if ".lora_" not in name and name.startswith(LAYOUTS[target].covers)}
    chosen = {name: tensor for name, tensor in tensors.items() if name in wanted or name not in own}
    report = compare({name: own[name] for name in wanted}, chosen, len(ADDED_TOKENS), sa2va.vocabulary)
    report.missing = sorted(wanted - chosen.keys())
    report.unexpected = sorted(chosen.keys() - wanted)
    require_complete(report, target, "Give the base weights before those of a run, and the config of that run.")
    for name in report.grown:
        chosen[name] = _grown(chosen[name], tuple(own[name].shape))
    return chosen


def _grown(table: StoredTensor, shape: tuple[int, ...]) -> StoredTensor:
    return StoredTensor(table.name, shape, table.dtype, lambda: grow_rows(table.read(), shape[0]))


def _write_config(sources: Sequence[Source], model: dict[str, Any], path: Path) -> None:
    """The files of a Sa2VA directory besides weights: from a source that has them, or written anew."""
    for source in reversed(sources):
        folder = Path(source.path)
        if source.layout.name == "sa2va_hf" and (folder / "config.json").is_file():
            for file in folder.iterdir():
                if file.is_file() and not file.name.endswith(_WEIGHT_SUFFIXES):
                    shutil.copyfile(file, path / file.name)
            return
    tokenizer = load_tokenizer(model["tokenizer"])
    config = to_sa2va(model["mllm"], model["grounding"], len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    (path / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tokenizer.save_pretrained(path)

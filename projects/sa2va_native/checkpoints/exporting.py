"""Exports checkpoints in any layout that this project reads; always as safetensors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from huggingface_hub import split_state_dict_into_shards_factory
from rich.progress import track
from safetensors.torch import save_file

from sa2va_native.checkpoints.layouts import Layout
from sa2va_native.checkpoints.stored import Stored, StoredTensor, open_checkpoint
from sa2va_native.checkpoints.translate import flipped, translate
from sa2va_native.errors import CheckpointError
from sa2va_native.files.modes import make_ordinary


def export(
    tensors: Stored, layout: Layout, path: Path, dtype: torch.dtype | None = None, max_shard_size: str = "5GB"
) -> None:
    """Write the parts that a layout covers, under its names.

    Memory: one shard at a time.

    Args:
        tensors: under this project's names; without LoRA unless the layout has names for it.
        layout: one of :data:`sa2va_native.checkpoints.layouts.LAYOUTS`.
        path: directory or file, as the layout requires.
        dtype: for floating tensors; None leaves them unchanged.
        max_shard_size: largest file of a directory.

    Raises:
        CheckpointError: a tensor has no name in the layout.
    """
    chosen = _covered(tensors, layout)
    theirs, unexplained = translate(chosen, flipped(layout.rules))
    if not layout.has_lora:
        unexplained += [name for name in chosen if ".lora_" in name]
    if unexplained or not theirs:
        what = f"e.g. {unexplained[0]!r}" if unexplained else "nothing to write"
        raise CheckpointError(
            f"{layout.title}: has no name for {len(unexplained)} tensors, {what}; choose another --to"
        )
    if not layout.is_directory:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(theirs, theirs, path, dtype)
        return
    path.mkdir(parents=True, exist_ok=True)
    shards = split_state_dict_into_shards_factory(
        theirs,
        get_storage_size=lambda tensor: _bytes(tensor, dtype),
        filename_pattern="model{suffix}.safetensors",
        max_shard_size=max_shard_size,
    )
    for file, names in track(shards.filename_to_tensors.items(), description="writing shards"):
        _write(theirs, names, path / file, dtype)
    if shards.is_sharded:
        index = {"metadata": shards.metadata, "weight_map": shards.tensor_to_filename}
        (path / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def differences(written: Path, tensors: Stored, layout: Layout, dtype: torch.dtype | None = None) -> list[str]:
    """Names of tensors that differ, bit for bit, between what was to be written and what is read back."""
    back, unexplained = translate(open_checkpoint(written), layout.rules)
    chosen = _covered(tensors, layout)
    different = [*unexplained, *sorted(back.keys() ^ chosen.keys())]
    for name in sorted(back.keys() & chosen.keys()):
        if not torch.equal(back[name].read(), _cast(chosen[name].read(), dtype)):
            different.append(name)
    return different


def _covered(tensors: Stored, layout: Layout) -> Stored:
    return {name: tensor for name, tensor in tensors.items() if name.startswith(layout.covers or ("",))}


def _write(tensors: Stored, names: Iterable[str], file: Path, dtype: torch.dtype | None) -> None:
    values = {name: _cast(tensors[name].read(), dtype).contiguous().clone() for name in names}
    save_file(values, file, metadata={"format": "pt"})
    make_ordinary(file)


def _cast(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    return tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor


def _bytes(tensor: StoredTensor, dtype: torch.dtype | None) -> int:
    kind = dtype if dtype and tensor.dtype.is_floating_point else tensor.dtype
    return torch.Size(tensor.shape).numel() * kind.itemsize

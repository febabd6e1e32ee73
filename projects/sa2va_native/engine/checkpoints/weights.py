"""The trained weights in a checkpoint, written with or without DeepSpeed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from sa2va_native.engine.checkpoints.checkpointing import (
    find_latest_checkpoint,
    is_run_checkpoint,
    require_checkpoint,
    require_no_published_weights,
)
from sa2va_native.engine.checkpoints.fitting import require_weights
from sa2va_native.engine.checkpoints.safe_load import load_file
from sa2va_native.engine.checkpoints.zero_shards import ZeroShards
from sa2va_native.errors import CheckpointError
from sa2va_native.parallel.parameters import trainable_parameters
from sa2va_native.parallel.unwrap import unwrap_model


def require_path(path: str | Path) -> str:
    """An undamaged checkpoint: ``path`` itself, or the newest one if it is a work dir.

    Raises:
        CheckpointError: there is none.
    """
    path = Path(path)
    if not path.is_dir() or is_run_checkpoint(path):
        return require_checkpoint(path)
    require_no_published_weights(path)
    latest = find_latest_checkpoint(path)
    if latest is None:
        raise CheckpointError(f"work dir {path} has no complete checkpoint iter_*.pth.")
    print(f"{latest} is taken, the newest checkpoint of {path}.", file=sys.stderr)
    return latest


def read_weights(path: str | Path, key: str | None = None) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint by name, on the CPU.

    Args:
        path: file of a plain run, or folder that DeepSpeed wrote (any ZeRO stage; float32 master weights are read).
        key: under which a hook keeps other weights, e.g. a teacher's, to be read instead of the model's own.

    Raises:
        CheckpointError: there are none under ``key``, or there is something that could run code.
    """
    path = Path(path)
    if key is not None:
        states = path if path.is_file() else min(path.glob("*model_states.pt"), key=lambda file: file.name)
        state = load_file(states, mmap=True).get(key)
        if not state:
            raise CheckpointError(f"{path} holds no {key!r}: no hook of the run that wrote it keeps weights there.")
        return state
    if path.is_file():
        content = load_file(path)
        state = content.get("state_dict") if isinstance(content, Mapping) else None
        if not isinstance(state, Mapping):
            raise CheckpointError(
                f"{path} holds no 'state_dict' and is no checkpoint of a run. Published weights are given with "
                f"--weights {path}."
            )
        return dict(state)
    shards = ZeroShards(path)
    module = shards.model_states["module"]
    buffers = {name: module[name] for name in shards.model_states["buffer_names"]}
    return {**{name: shards.whole(name) for name in shards.shapes}, **buffers}


def load_weights(model: object, path: str | Path, key: str | None = None) -> None:
    """Loads the trained weights of a checkpoint; frozen parts that it leaves out stay as the model has them.

    ``key`` as in :func:`read_weights`.

    Raises:
        CheckpointError: a trained tensor is missing, one is unexpected, a shape differs, or a value is not finite.
    """
    bare: nn.Module = unwrap_model(model)
    state = read_weights(path, key)
    require_weights(state, bare, trainable_parameters(bare).keys(), str(path))
    bare.load_state_dict(state, strict=False)

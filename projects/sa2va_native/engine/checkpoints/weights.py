"""The trained weights in a checkpoint, written with or without DeepSpeed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from sa2va_native.engine.checkpoints.checkpointing import find_latest_checkpoint, require_checkpoint
from sa2va_native.engine.checkpoints.safe_load import load_file
from sa2va_native.engine.checkpoints.zero_shards import ZeroShards
from sa2va_native.errors import CheckpointError
from sa2va_native.parallel.parameters import trainable_parameters
from sa2va_native.parallel.unwrap import unwrap_model


def require_path(path: str | Path) -> str:
    """A complete checkpoint: ``path`` itself, or the newest one if it is a work dir.

    Raises:
        CheckpointError: there is none.
    """
    path = Path(path)
    if path.is_dir() and not path.name.startswith("iter_"):
        latest = find_latest_checkpoint(path)
        if latest is None:
            raise CheckpointError(f"work dir {path} has no complete checkpoint iter_*.pth.")
        return latest
    return require_checkpoint(path)


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
        return load_file(path)["state_dict"]
    shards = ZeroShards(path)
    module = shards.model_states["module"]
    buffers = {name: module[name] for name in shards.model_states["buffer_names"]}
    return {**{name: shards.whole(name) for name in shards.shapes}, **buffers}


def load_weights(model: object, path: str | Path, key: str | None = None) -> None:
    """Loads the trained weights of a checkpoint; frozen parts that it leaves out stay as the model has them.

    ``key`` as in :func:`read_weights`.

    Raises:
        CheckpointError: a trained tensor is missing, a tensor is unexpected, or a shape differs.
    """
    bare: nn.Module = unwrap_model(model)
    state = read_weights(path, key)
    missing = trainable_parameters(bare).keys() - state.keys()
    unexpected = state.keys() - bare.state_dict().keys()
    if missing or unexpected:
        kind, names = ("lacks", missing) if missing else ("has unknown", unexpected)
        raise CheckpointError(
            f"{path} {kind} {len(names)} tensors, e.g. {min(names)}. Use the config that wrote the checkpoint."
        )
    try:
        bare.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit the model: {error}") from error

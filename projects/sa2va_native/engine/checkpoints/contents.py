"""What a checkpoint of a run holds, and whether a run could go on from it, without one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from sa2va_native.engine.checkpoints.checkpointing import read_seal
from sa2va_native.engine.checkpoints.fitting import (
    as_written,
    require_finite,
    require_floating,
    require_optimizer,
    require_shapes,
    require_weights,
)
from sa2va_native.engine.checkpoints.safe_load import load_file
from sa2va_native.engine.checkpoints.zero_shards import MASTER, ZeroShards
from sa2va_native.errors import CheckpointError
from sa2va_native.parallel.parameters import trainable_parameters


def require_restorable(path: str, model: nn.Module, optimizer: Optimizer, copies: Sequence[str]) -> None:
    """Checks names, shapes and values of all that a run would restore.

    Args:
        path: an undamaged checkpoint.
        model: of the run; may be without values, as the optimizer.
        optimizer: of the run, without DeepSpeed.
        copies: keys under which the run's hooks keep copies of the trained weights.

    Raises:
        CheckpointError: something is missing, does not fit, or is not finite.
    """
    with as_written(path):
        params = trainable_parameters(model)
        shapes = {name: tuple(param.shape) for name, param in params.items()}
        if Path(path).is_file():
            content = load_file(path, mmap=True)
            require_weights(content.get("state_dict", {}), model, model.state_dict().keys(), path)
            if "optimizer" in content:
                require_optimizer(content["optimizer"], optimizer, path)
        else:
            shards = ZeroShards(path)
            content = shards.model_states
            require_shapes(shards.shapes, shapes, path)
            require_floating(shards.values(), path)
        for key in copies:
            if not isinstance(copy := content.get(key), Mapping) or not copy:
                raise CheckpointError(
                    f"{path} holds no {key!r}, which this run keeps. Start a new run from its weights with --load-from."
                )
            require_shapes({name: tuple(tensor.shape) for name, tensor in copy.items()}, shapes, f"{path} ({key})")
            require_floating(copy.items(), f"{path} ({key})")


def describe(path: Path) -> Iterator[tuple[str, str]]:
    """What an undamaged checkpoint holds, as titles and texts; all values are read.

    Raises:
        CheckpointError: it cannot be read, is none of a run, or a value is not finite.
    """
    with as_written(str(path)):
        if path.is_file():
            content = load_file(path, mmap=True)
            written, tensors = "without DeepSpeed", dict(content["state_dict"])
            states = content.get("optimizer", {}).get("state", {}).values()
            moments = sorted({key for state in states for key, value in state.items() if _is_tensor(value)})
            values = [(f"{key} of the optimizer", value) for state in states for key, value in state.items()]
            require_finite([*tensors.items(), *values], str(path))
        else:
            shards = ZeroShards(path)
            content = shards.model_states
            written = f"ZeRO-{shards.stage} of {shards.ranks} ranks"
            tensors = {name: shards.whole(name) for name in shards.shapes}
            moments = [key for key in shards.keys if key != MASTER]
            require_finite(shards.values(), str(path))
        seal, meta = read_seal(path), content.get("meta", {})
        run = meta.get("run") or {}
        yield "written", f"{written}, at iteration {meta.get('iter')}" + (f", step {run['step']}" if run else "")
        when = time.strftime("%F %T", time.localtime(run.get("saved", 0) // 10**9))
        yield "run", f"{run['id']}, saved {when}" if run else "not named"
        yield "seed", str(meta.get("seed"))
        yield "weights", _sizes(tensors)
        yield "optimizer", ", ".join(moments) or "no moments"
        for key, value in content.items():
            is_copy = key not in ("state_dict", "module") and isinstance(value, Mapping) and bool(value)
            if is_copy and all(map(_is_tensor, value.values())):
                require_finite(value.items(), f"{path} ({key})")
                yield key, _sizes(value)
        yield "checksums", "of all bytes, as written" if seal else "of each record, as written"


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


def _sizes(tensors: Mapping[Any, Tensor]) -> str:
    types = ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}))
    values = sum(map(Tensor.numel, tensors.values()))
    return f"{len(tensors)} tensors, {values:,} values, {types}, all finite" if tensors else "none"

"""Tensors in files, known by name and shape, read one at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sa2va_native.errors import CheckpointError

_SAFETENSORS_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
#: Keys under which training code keeps the weights of a pickled checkpoint.
_STATE_KEYS = ("state_dict", "model", "module")


class StoredTensor(NamedTuple):
    """A tensor that stays in its file until it is read."""

    name: str  #: its name in the file; several, separated by spaces, if they make up one tensor here
    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


Stored = dict[str, StoredTensor]


def in_memory(tensors: Mapping[str, Tensor]) -> Stored:
    """Tensors that are already in memory, as stored ones."""
    return {n: StoredTensor(n, tuple(t.shape), t.dtype, lambda t=t: t) for n, t in tensors.items()}  # type: ignore[misc]


def open_checkpoint(path: Path) -> Stored:
    """The tensors of a file, or of all shards of a Hugging Face directory.

    Files are mapped into memory, so a tensor takes memory only from its ``read()`` until it is dropped.

    Raises:
        CheckpointError: nothing is there, a shard of the index is missing, or a file cannot be read.
    """
    if not path.exists():
        raise CheckpointError(f"weights {str(path)!r}: no such file or directory")
    stored: Stored = {}
    for file in _shards(path) if path.is_dir() else [path]:
        stored.update(_open_safetensors(file) if file.suffix == ".safetensors" else _open_pickle(file))
    if not stored:
        raise CheckpointError(f"weights {str(path)!r}: holds no tensor")
    return stored


def _shards(directory: Path) -> list[Path]:
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        single, index = directory / f"{stem}.{suffix}", directory / f"{stem}.{suffix}.index.json"
        if single.is_file():
            return [single]
        if index.is_file():
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            for name in names:
                if Path(name).name != name or not (directory / name).is_file():
                    raise CheckpointError(f"weights {str(index)!r}: names the shard {name!r}, which is not next to it")
            return [directory / name for name in names]
    raise CheckpointError(
        f"weights {str(directory)!r}: no model.safetensors, pytorch_model.bin or index of shards there; give the "
        "downloaded directory, or one file"
    )


def _open_safetensors(file: Path) -> Stored:
    try:
        handle = safe_open(file, "pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"weights {str(file)!r}: not a readable safetensors file ({error})") from error
    stored = {}
    for name in handle.keys():  # noqa: SIM118  not a dict
        view = handle.get_slice(name)
        dtype = _SAFETENSORS_TYPES[view.get_dtype()]
        stored[name] = StoredTensor(name, tuple(view.get_shape()), dtype, lambda n=name: handle.get_tensor(n))  # type: ignore[misc]
    return stored


def _open_pickle(file: Path) -> Stored:
    content = load_pickle(file)
    for key in _STATE_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise CheckpointError(f"weights {str(file)!r}: holds a {type(content).__name__}, expected named tensors")
    return in_memory({name: value for name, value in content.items() if isinstance(value, Tensor)})


def load_pickle(file: Path) -> Any:
    """What ``torch.save`` wrote, without running code from the file.

    Objects other than tensors and plain containers, such as the log that a training run saves with its weights,
    become empty stand-ins.

    Raises:
        CheckpointError: the file cannot be read that way.
    """
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(file)
        stand_ins: list[Any] = [(StandIn, name) for name in foreign]
        with torch.serialization.safe_globals(stand_ins):
            return torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f"weights {str(file)!r}: reading it would run code that it names "
            f"({', '.join(foreign) or 'no class is named'}), which is refused; save the weights as safetensors instead"
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise CheckpointError(
            f"weights {str(file)!r}: not a readable file of torch.save ({str(error).splitlines()[0]})"
        ) from error


class StandIn:
    """Replaces an object whose class must not be run, and keeps none of its state."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

"""Tensors in files, known by name and shape, read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sa2va_native.errors import CheckpointError, printable
from sa2va_native.files.bounded_json import load_json, read_bounded
from sa2va_native.files.formats import other_format
from sa2va_native.files.sealed_archive import archive_damage, archive_seal, foreign_records

_SAFETENSORS_TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
#: Keys under which training code keeps the weights of a pickled checkpoint.
_STATE_KEYS = ("state_dict", "model", "module")
_MOST_VALUES = 10_000_000


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
    stored = _open_directory(path) if path.is_dir() else _open_file(path)
    if not stored:
        raise CheckpointError(f"weights {str(path)!r}: holds no tensor")
    if odd := [name for name in stored if not name.isprintable()]:  # which could forge lines of a log
        raise CheckpointError(f"weights {str(path)!r}: a tensor is named {odd[0]!r:.80}")
    return stored


def _open_directory(directory: Path) -> Stored:
    for stem, suffix in (("model", "safetensors"), ("pytorch_model", "bin")):
        single, index = directory / f"{stem}.{suffix}", directory / f"{stem}.{suffix}.index.json"
        if single.is_file():
            return _open_file(single)
        if index.is_file():
            return _open_shards(index)
    raise CheckpointError(
        f"weights {str(directory)!r}: no model.safetensors, pytorch_model.bin or index of shards there; give the "
        "downloaded directory, or one file"
    )


def _open_shards(index: Path) -> Stored:
    """The tensors of all shards, each in the one that the index names."""
    _require_weights(index)
    try:
        places = load_json(read_bounded(index))["weight_map"]
        shards = sorted(set(places.values()))
        if any(not isinstance(shard, str) or Path(shard).name != shard for shard in shards):
            raise ValueError("a shard is no name of a file")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"weights {str(index)!r}: not an index of shards ({type(error).__name__}: {error}); download it again"
        ) from error
    stored: Stored = {}
    for shard in shards:
        if not (index.parent / shard).is_file():
            raise CheckpointError(f"weights {str(index)!r}: names the shard {shard!r}, which is not next to it")
        there = _open_file(index.parent / shard)
        listed = {name for name, place in places.items() if place == shard}
        if wrong := sorted(listed ^ there.keys()):
            who = ("the index", "the shard") if wrong[0] in listed else ("the shard", "the index")
            raise CheckpointError(
                f"weights {str(index)!r}: in {shard!r} {who[0]} has {wrong[0]!r} and {who[1]} has not ({len(wrong)} "
                "such tensors); they are not of one download"
            )
        stored.update(there)
    return stored


def _open_file(file: Path) -> Stored:
    _require_weights(file)
    return _open_safetensors(file) if file.suffix == ".safetensors" else _open_pickle(file)


def _require_weights(file: Path) -> None:
    if not file.is_file():  # reading a pipe would wait
        raise CheckpointError(f"weights {str(file)!r}: is not a file")
    if wrong := other_format(file):
        raise CheckpointError(f"weights {str(file)!r}: {wrong}")


def _open_safetensors(file: Path) -> Stored:
    try:
        handle = safe_open(file, "pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"weights {str(file)!r}: not a readable safetensors file ({error})") from error
    stored = {}
    for name in handle.keys():  # noqa: SIM118  not a dict
        view = handle.get_slice(name)
        if (dtype := _SAFETENSORS_TYPES.get(view.get_dtype())) is None:
            raise CheckpointError(
                f"weights {str(file)!r}: {name} is of type {view.get_dtype()}, which is not one of "
                f"{', '.join(_SAFETENSORS_TYPES)}; convert it first"
            )
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
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if nameless := [name for name in tensors if not isinstance(name, str)]:
        raise CheckpointError(f"weights {str(file)!r}: a tensor is named {nameless[0]!r:.80}, expected a text")
    if not tensors and (parts := [key for key, part in content.items() if _holds_tensor(part)]):
        raise CheckpointError(
            f"weights {str(file)!r}: its tensors are under {', '.join(map(repr, parts))}, and are looked for under "
            f"{', '.join(_STATE_KEYS)}, or without a key; save the one part that is meant"
        )
    return in_memory(tensors)


def _holds_tensor(part: Any) -> bool:
    return isinstance(part, Mapping) and any(isinstance(value, Tensor) for value in part.values())


def load_pickle(file: Path) -> Any:
    """What ``torch.save`` wrote, without running code from the file.

    Objects other than tensors and plain containers, such as the log that a training run saves with its weights,
    become empty stand-ins.

    Raises:
        CheckpointError: the file cannot be read that way.
    """
    foreign: list[str] = []
    try:
        if problem := foreign_records(file):
            raise ValueError(f"it {problem}")
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(file)
        if archive_seal(file) and (damage := archive_damage(file)):  # of a run
            raise ValueError(f"it {damage}")
        stand_ins: list[Any] = [(StandIn, name) for name in foreign]
        with torch.serialization.safe_globals(stand_ins):
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        require_bounded(content)
    except UnpicklingError as error:
        named = printable(", ".join(foreign)) or "an operation of pickle protocol 4 hides the name"
        raise CheckpointError(
            f"weights {str(file)!r}: reading it would run code that it names ({named}), which is refused; save the "
            "weights as safetensors instead"
        ) from error
    except Exception as error:  # of many kinds, where a file is damaged
        raise CheckpointError(
            f"weights {str(file)!r}: not a readable file of torch.save ({next(iter(str(error).splitlines()), error)})"
        ) from error
    return content


def require_bounded(content: Any) -> None:
    """Refuses what takes far more memory than its file as soon as it is copied or listed.

    Raises:
        ValueError: a tensor has more elements than its storage, or no values at all, or containers that hold each other
            again and again stand for more than ten million values.
    """
    if _expanded(content, {}) > _MOST_VALUES:
        raise ValueError(f"its containers stand for more than {_MOST_VALUES:,} values")


def _expanded(value: Any, known: dict[int, int]) -> int:
    """How many values there are if each container is written out wherever it is used; of a cycle too many."""
    if isinstance(value, Tensor):
        if value.is_meta:
            raise ValueError(f"a tensor of shape {tuple(value.shape)} was saved without its values")
        if value.layout != torch.strided or value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError(f"a tensor of shape {tuple(value.shape)} has fewer elements in the file")
        return 1
    if not isinstance(value, Mapping | list | tuple | set):
        return 1
    if id(value) not in known:
        known[id(value)] = _MOST_VALUES + 1
        inside = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
        known[id(value)] = 1 + sum(_expanded(one, known) for one in inside)
    return known[id(value)]


class StandIn:
    """Replaces an object whose class must not be run, and keeps none of its state."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

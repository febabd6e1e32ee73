"""What the ranks of a DeepSpeed run wrote to a checkpoint folder, accessed by parameter instead of by rank."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sa2va_native.engine.checkpoints.safe_load import load_file
from sa2va_native.errors import CheckpointError

#: The key of the float32 master weights; the other keys are the optimizer's, e.g. ``exp_avg``.
MASTER = "fp32"


class _Fragment(NamedTuple):
    """Consecutive elements of one parameter in one flat tensor of one rank."""

    flats: dict[str, Tensor]  #: by key; all laid out alike
    start: int  #: of the run, in the flat tensors
    first: int  #: of the run, in the flattened parameter
    numel: int


class ZeroShards:
    """Float32 master weights and optimizer states in a checkpoint of ZeRO-1, 2 or 3, written by any number of ranks.

    Tensors stay in their files until they are read. The layouts are those that
    ``deepspeed.checkpoint.ds_to_universal`` reads.

    Args:
        folder: a checkpoint folder.

    Raises:
        CheckpointError: a file is missing or holds what could run code.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self._open()
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"{self.folder} is not laid out as DeepSpeed's ZeRO lays out checkpoints ({type(error).__name__}: "
                f"{error}). Use a checkpoint of a run with ZeRO-1, 2 or 3."
            ) from error

    def _open(self) -> None:
        self.model_states: dict[str, Any] = load_file(_files(self.folder, "model_states")[0], mmap=True)
        groups = self.model_states["param_shapes"]
        self.shapes = {name: tuple(shape) for group in groups for name, shape in group.items()}
        self.group_names = [list(group) for group in groups]  #: parameters of each group of the optimizer
        files = _files(self.folder, "optim_states")
        written = self.model_states["dp_world_size"]
        if len(files) != written:
            raise CheckpointError(
                f"{self.folder} has the *_optim_states.pt of {len(files)} of {written} ranks. Use a whole checkpoint."
            )
        states = [load_file(file, mmap=True)["optimizer_state_dict"] for file in files]
        self.ranks = len(states)
        self.stage = int(states[0]["zero_stage"])
        self.scalars: dict[str, Any] = {}  #: of the optimizer's state, e.g. ``step``
        self._fragments: dict[str, list[_Fragment]] = {name: [] for name in self.shapes}
        for rank, state in enumerate(states):
            if self.stage == 3:
                self._add_rank_of_stage_3(rank, state, groups)
            else:
                self._add_rank(state)
        self.param_groups: list[dict[str, Any]] = self._optimizer(states[0])["param_groups"]

    @property
    def keys(self) -> list[str]:
        """What is stored for every parameter: ``MASTER`` and the optimizer's states."""
        return list(next(iter(self._fragments.values()))[0].flats)

    def read(self, name: str, key: str, first: int, numel: int) -> Tensor:
        """Elements ``first`` to ``first + numel`` of a flattened parameter, [numel], float32.

        Raises:
            CheckpointError: the files do not hold all of them.
        """
        values, filled = torch.empty(numel), 0
        for fragment in self._fragments[name]:
            begin, end = max(first, fragment.first), min(first + numel, fragment.first + fragment.numel)
            if begin < end:
                offset = fragment.start + begin - fragment.first
                values[begin - first : end - first] = fragment.flats[key][offset : offset + end - begin]
                filled += end - begin
        if filled != numel:
            raise CheckpointError(f"{self.folder} holds {filled} of {numel} elements of {name} ({key}).")
        return values

    def whole(self, name: str, key: str = MASTER) -> Tensor:
        """A whole parameter, or the optimizer's state of it, in its own shape; float32."""
        shape = self.shapes[name]
        return self.read(name, key, 0, math.prod(shape)).view(shape)

    def values(self, first: int = 0, every: int = 1) -> Iterator[tuple[str, Tensor]]:
        """What is stored, piece by piece and without padding, of every ``every``-th parameter from the ``first`` on."""
        for name in list(self.shapes)[first::every]:
            for fragment in self._fragments[name]:
                for key, flat in fragment.flats.items():
                    yield f"{name} ({key})", flat[fragment.start : fragment.start + fragment.numel]

    def _optimizer(self, state: dict) -> dict:
        return state["optimizer_state_dict" if self.stage == 3 else "base_optimizer_state"]

    def _flats(self, state: dict, group: int) -> dict[str, Tensor]:
        values = self._optimizer(state)["state"].get(group, {})
        self.scalars |= {key: value for key, value in values.items() if not _is_flat(value)}
        master = state["fp32_flat_groups" if self.stage == 3 else "single_partition_of_fp32_groups"][group]
        return {MASTER: master, **{key: value for key, value in values.items() if _is_flat(value)}}

    def _add_rank(self, state: dict) -> None:
        """ZeRO-1 and 2: the parameters of a group one after another, cut into equal parts by rank."""
        for group, mapping in enumerate(state["param_slice_mappings"]):
            flats = self._flats(state, group)
            for name, address in mapping.items():
                before = self._fragments[name]
                first = before[-1].first + before[-1].numel if before else 0
                before.append(_Fragment(flats, address.start, first, address.numel))

    def _add_rank_of_stage_3(self, rank: int, state: dict, groups: list[dict]) -> None:
        """ZeRO-3: each parameter is cut by rank, and the parts of a group follow one another."""
        for group, shapes in enumerate(groups):
            flats, start = self._flats(state, group), 0
            for name, shape in shapes.items():
                total = math.prod(shape)
                part = -(-total // self.ranks)
                real = max(0, min(part, total - rank * part))  # the rest is padding
                self._fragments[name].append(_Fragment(flats, start, rank * part, real))
                start += part


def _is_flat(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


def _files(folder: Path, kind: str) -> list[Path]:
    """The files of a kind, by rank."""
    files = list(folder.glob(f"*_{kind}.pt"))
    if not files:
        raise CheckpointError(f"{folder} has no *_{kind}.pt: it is not a checkpoint of a DeepSpeed run with ZeRO.")
    return sorted(files, key=lambda file: int(re.search(r"rank_(\d+)", file.name)[1]))  # type: ignore[index]

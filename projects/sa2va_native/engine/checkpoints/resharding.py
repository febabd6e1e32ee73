"""Resumes from a DeepSpeed checkpoint under another number of ranks or another ZeRO stage.

DeepSpeed's own way, the universal checkpoint, writes a second and third copy of the optimizer to disk, one file per
parameter and state, unpickles them without restriction, cannot go from ZeRO-2 to ZeRO-3, and under ZeRO-3 applies the
settings of the first parameter group to all of them. Here each rank reads its own part directly from the files and
passes it to the loader that DeepSpeed uses for an unchanged number of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sa2va_native.engine.checkpoints.fitting import require_floating, require_shapes
from sa2va_native.engine.checkpoints.zero_shards import MASTER, ZeroShards
from sa2va_native.errors import CheckpointError
from sa2va_native.parallel.agreement import on_any_rank
from sa2va_native.parallel.parameters import full_shape


class _Place(NamedTuple):
    """Where a part of a parameter is in a flat tensor of this rank."""

    name: str
    first: int  #: of the part, in the flattened parameter
    start: int  #: of the part, in the flat tensor
    numel: int


class _Group(NamedTuple):
    """One flat tensor of this rank."""

    size: int  #: elements, padding included
    places: list[_Place]


def require_fitting(engine: Any, shards: ZeroShards) -> None:
    """Checks that a checkpoint holds what an engine trains, in the same groups, and finite. A collective.

    Raises:
        CheckpointError: it does not.
    """
    params = engine.module.named_parameters()
    trained = {name: full_shape(param) for name, param in params if param.requires_grad}
    require_shapes(shards.shapes, trained, str(shards.folder))
    own = [set(names) for names in group_names(engine)]
    if own != [set(names) for names in shards.group_names]:
        raise CheckpointError(
            f"{shards.folder}: its optimizer has {len(shards.group_names)} groups of parameters and this run's has "
            f"{len(own)}, or others are in them. Use the config that wrote the checkpoint."
        )
    values = shards.values(torch.distributed.get_rank(), torch.distributed.get_world_size())
    on_any_rank(lambda: require_floating(values, str(shards.folder)))


def group_names(engine: Any) -> list[list[str]]:
    """The parameters of each group of an engine's optimizer, in their order."""
    optimizer = engine.optimizer
    groups = optimizer.fp16_groups if engine.zero_optimization_partition_weights() else optimizer.bit16_groups
    return [[optimizer.param_names[param] for param in group] for group in groups]


def load_resharded(engine: Any, shards: ZeroShards) -> dict[str, Any]:
    """Restores trained weights, optimizer, buffers and counters of an engine; on all ranks.

    Frozen parameters are unchanged: checkpoints leave them out.

    Args:
        engine: a DeepSpeed engine with ZeRO-1, 2 or 3 that has not taken a step.
        shards: the checkpoint; :func:`require_fitting` accepts it.

    Returns:
        what else the checkpoint holds (schedulers, state of hooks), as the main rank wrote it.
    """
    optimizer, partitioned = engine.optimizer, engine.zero_optimization_partition_weights()
    groups = _groups_of_rank(engine)
    state = optimizer.state_dict()
    inner = state["optimizer_state_dict" if partitioned else "base_optimizer_state"]
    inner["param_groups"] = [
        {**saved, "params": own["params"]}
        for saved, own in zip(shards.param_groups, inner["param_groups"], strict=True)
    ]
    states = [key for key in shards.keys if key != MASTER]
    inner["state"] = {
        index: {**deepcopy(shards.scalars), **{key: _flat(group, shards, key) for key in states}}
        for index, group in enumerate(groups)
        if states
    }
    masters = "fp32_flat_groups" if partitioned else "single_partition_of_fp32_groups"
    state[masters] = [_flat(group, shards, MASTER) for group in groups]

    if partitioned:
        optimizer.checkpoint_event_prologue()
    # DeepSpeed's loader chooses the state of this rank from those of all.
    optimizer.load_state_dict([state] * engine.dp_world_size, load_from_fp32_weights=True)
    if partitioned:
        optimizer.checkpoint_event_epilogue()
    else:
        optimizer.update_lp_params()
    saved = dict(shards.model_states)
    module = saved.pop("module")
    buffers = dict(engine.module.named_buffers())
    for name in saved["buffer_names"]:
        buffers[name].copy_(module[name])
    engine.loaded_checkpoint_dp_world_size = shards.ranks
    for counter in ("global_steps", "global_samples", "skipped_steps"):
        setattr(engine, counter, saved[counter])
    return saved


def _flat(group: _Group, shards: ZeroShards, key: str) -> Tensor:
    flat = torch.zeros(group.size)
    for place in group.places:
        flat[place.start : place.start + place.numel] = shards.read(place.name, key, place.first, place.numel)
    return flat


def own_parts(engine: Any) -> Iterator[tuple[str, Tensor]]:
    """This rank's float32 master weights and the optimizer's states of them, by parameter and without padding."""
    optimizer = engine.optimizer
    partitioned = engine.zero_optimization_partition_weights()
    flats = optimizer.fp32_partitioned_groups_flat if partitioned else optimizer.single_partition_of_fp32_groups
    for group, master in zip(_groups_of_rank(engine), flats, strict=True):
        states = {MASTER: master, **optimizer.optimizer.state.get(master, {})}
        for key, flat in states.items():
            if isinstance(flat, Tensor) and flat.ndim:
                for place in group.places:
                    yield f"{place.name} ({key})", flat[place.start : place.start + place.numel]


def _groups_of_rank(engine: Any) -> list[_Group]:
    partitioned = engine.zero_optimization_partition_weights()
    return _groups_of_stage_3(engine.optimizer) if partitioned else _groups(engine.optimizer)


def _groups(optimizer: Any) -> list[_Group]:
    """ZeRO-1 and 2: what DeepSpeed linked to this rank's part of each group."""
    return [
        _Group(
            flat.numel(),
            [
                _Place(
                    optimizer.param_names[param],
                    link.lp_fragment_address.start,
                    link.get_hp_fragment_address().start,
                    link.lp_fragment_address.numel,
                )
                for param in params
                if (link := param._hp_mapping) is not None
            ],
        )
        for flat, params in zip(optimizer.single_partition_of_fp32_groups, optimizer.bit16_groups, strict=True)
    ]


def _groups_of_stage_3(optimizer: Any) -> list[_Group]:
    """ZeRO-3: this rank's slice of every parameter, one after another."""
    groups = []
    for flat, params in zip(optimizer.fp32_partitioned_groups_flat, optimizer.fp16_groups, strict=True):
        places, start = [], 0
        for param in params:
            size, rank = param.ds_tensor.numel(), torch.distributed.get_rank(param.ds_process_group)
            real = max(0, min(size, param.ds_numel - rank * size))  # the rest is padding
            places.append(_Place(optimizer.param_names[param], rank * size, start, real))
            start += size
        groups.append(_Group(flat.numel(), places))
    return groups

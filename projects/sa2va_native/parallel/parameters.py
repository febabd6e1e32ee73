"""Reads and exchanges parameters, whatever owns them: plain modules, DistributedDataParallel, ZeRO-1, 2 or 3.

Under ZeRO-3 a parameter is a flat, padded slice per rank (``param.ds_tensor``) and is only whole while a layer runs.
Everywhere else it is whole on every rank.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The trained parameters by name, in the order of the model."""
    return {name: param for name, param in model.named_parameters() if param.requires_grad}


def is_partitioned(param: nn.Parameter) -> bool:
    """Whether ZeRO-3 owns the parameter, so that this rank only keeps a slice of it."""
    return hasattr(param, "ds_tensor")


def local_tensor(param: nn.Parameter) -> torch.Tensor:
    """What this rank keeps of the parameter between layers: the whole tensor, or its ZeRO-3 slice (1-D, padded)."""
    return param.ds_tensor if is_partitioned(param) else param.data  # type: ignore[attr-defined]


def release_gathered(param: nn.Parameter) -> None:
    """Frees the whole copy of a ZeRO-3 parameter, so that the next layer to use it reads the slices again.

    ZeRO-3 keeps small parameters whole all the time; such a copy would hide an exchange of the slices. A layer
    that is in the middle of its forward finds its own parameters empty afterwards, which torch refuses.
    """
    if is_partitioned(param) and param.ds_status.name == "AVAILABLE":  # type: ignore[attr-defined]
        param.ds_active_sub_modules.clear()  # type: ignore[attr-defined]  # small ones keep stale entries
        param.partition()  # type: ignore[attr-defined]


def stop_fetching_ahead(params: Iterable[nn.Parameter]) -> None:
    """Makes ZeRO-3 forget, for this step, which layer comes next, and wait for what it has already requested.

    It records the order of layers in one step and fetches ahead in the next. Weights fetched before parameters are
    exchanged would be used after it, although outdated.
    """
    sliced = next((param for param in params if is_partitioned(param)), None)
    if sliced is not None:
        coordinator = sliced._z3_optimizer.parameter_offload.get_param_coordinator()  # type: ignore[attr-defined]
        if coordinator.is_complete_trace():
            coordinator._invalidate_trace()  # what DeepSpeed does itself when it meets another layer than expected


def full_shape(param: nn.Parameter) -> tuple[int, ...]:
    """The shape of the whole parameter."""
    return tuple(param.ds_shape) if is_partitioned(param) else tuple(param.shape)  # type: ignore[attr-defined]


def gather_slices(param: nn.Parameter, local: torch.Tensor) -> torch.Tensor:
    """The whole tensor from every rank's slice of it. A collective under ZeRO-3, free otherwise.

    Args:
        param: the parameter that ``local`` is laid out like.
        local: shaped like ``local_tensor(param)``, any dtype.
    """
    if not is_partitioned(param):
        return local
    group: Any = param.ds_process_group  # type: ignore[attr-defined]
    slices = [torch.empty_like(local) for _ in range(dist.get_world_size(group))]
    dist.all_gather(slices, local.contiguous(), group=group)
    return torch.cat(slices)[: param.ds_numel].view(full_shape(param))  # type: ignore[attr-defined]


def take_slice(param: nn.Parameter, full: torch.Tensor) -> torch.Tensor:
    """This rank's part of a whole tensor: the inverse of :func:`gather_slices`."""
    if not is_partitioned(param):
        return full
    size, rank = param.ds_tensor.numel(), dist.get_rank(param.ds_process_group)  # type: ignore[attr-defined]
    padded = full.new_zeros(size * dist.get_world_size(param.ds_process_group))  # type: ignore[attr-defined]
    padded[: full.numel()] = full.flatten()
    return padded[rank * size : (rank + 1) * size].clone()


def without_padding(param: nn.Parameter, local: torch.Tensor) -> torch.Tensor:
    """The part of a slice that belongs to the parameter; ZeRO-3 leaves the padding uninitialised."""
    if not is_partitioned(param):
        return local
    first = dist.get_rank(param.ds_process_group) * local.numel()  # type: ignore[attr-defined]
    return local[: max(0, param.ds_numel - first)]  # type: ignore[attr-defined]


def full_gradient(param: nn.Parameter) -> torch.Tensor | None:
    """The complete, rank-averaged gradient, between backward and step. A collective under ZeRO.

    Returns:
        the gradient, or None when no loss reached the parameter (under ZeRO: zeros, or None).
    """
    if hasattr(param, "ds_id") or hasattr(param, "_hp_mapping"):
        from deepspeed.utils import safe_get_full_grad

        return safe_get_full_grad(param)
    return param.grad


def is_finite(tensor: Any) -> bool:
    """Whether it holds neither NaN nor infinity; True for what is no floating tensor with values. Takes no memory."""
    if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point() or not tensor.numel() or tensor.is_meta:
        return True
    if tensor.dtype.itemsize == 1:  # float8 has no operations
        tensor = tensor.float()
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor.detach()))).all())  # which pass NaN on

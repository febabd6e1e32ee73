"""Reading and exchanging parameters whoever owns them: plain, DistributedDataParallel, ZeRO-1, 2 or 3.

Under ZeRO-3 a parameter is a flat, padded slice per rank (``param.ds_tensor``) and is only whole while a layer runs.
Everywhere else it is whole on every rank.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from projects.sa2va.errors import TrainingError


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The trained parameters by name, in the order of the model."""
    return {name: param for name, param in model.named_parameters() if param.requires_grad}


def is_partitioned(param: nn.Parameter) -> bool:
    """Whether ZeRO-3 owns the parameter, so that this rank only keeps a slice of it."""
    return hasattr(param, "ds_tensor")


def local_tensor(param: nn.Parameter) -> torch.Tensor:
    """What this rank keeps of the parameter between layers: the whole tensor, or its ZeRO-3 slice (1-D, padded)."""
    return param.ds_tensor if is_partitioned(param) else param.data  # type: ignore[attr-defined]


def release_gathered(param: nn.Parameter, force: bool = False) -> None:
    """Frees the whole copy of a ZeRO-3 parameter, so that the next layer to use it reads the slices again.

    ZeRO-3 keeps small parameters whole all the time; such a copy would hide an exchange of the slices.

    Args:
        param: any parameter; only whole ZeRO-3 ones are touched.
        force: free it even if a layer seems to use it, as after an error inside that layer.

    Raises:
        TrainingError: a running layer uses the parameter, or it is being fetched ahead, and not ``force``.
    """
    if not is_partitioned(param):
        return
    if param.ds_status.name == "INFLIGHT":  # type: ignore[attr-defined]
        raise TrainingError(
            "ZeRO-3 fetches parameters ahead and would compute with weights from before the exchange. "
            'Set "stage3_prefetch_bucket_size": 0 in the DeepSpeed json, as configs/deepspeed/zero3.json does.'
        )
    if param.ds_status.name != "AVAILABLE":  # type: ignore[attr-defined]
        return
    if param.ds_active_sub_modules and not force:  # type: ignore[attr-defined]
        raise TrainingError(
            f"a parameter of shape {tuple(param.ds_shape)} is in use by a running layer "  # type: ignore[attr-defined]
            "and cannot be exchanged; only layers called inside may own trained parameters"
        )
    param.ds_active_sub_modules.clear()  # type: ignore[attr-defined]
    param.partition()  # type: ignore[attr-defined]


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


def full_gradient(param: nn.Parameter) -> torch.Tensor | None:
    """The complete, rank-averaged gradient, between backward and step. A collective under ZeRO.

    Returns:
        the gradient, or None when no loss reached the parameter (under ZeRO: zeros, or None).
    """
    if hasattr(param, "ds_id") or hasattr(param, "_hp_mapping"):
        from deepspeed.utils import safe_get_full_grad

        return safe_get_full_grad(param)
    return param.grad

"""Copies of trained parameters, kept in shares: each rank has a part under ZeRO, and everything without.

Under ZeRO-3 the share is laid out like the rank's slice of the parameter. ZeRO-1 and 2 leave parameters whole, and a
share is an equal part of the flattened one; the last ranks' may be shorter, or empty.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn

from sa2va_native.parallel.parameters import gather_slices, is_partitioned, local_tensor, take_slice


def is_shared_out(param: nn.Parameter) -> bool:
    """Whether ranks keep different parts of copies of the parameter."""
    return is_partitioned(param) or _is_cut(param)


def own_share(param: nn.Parameter) -> torch.Tensor:
    """What this rank's share of a copy corresponds to, of the parameter as it is; shares its memory."""
    return _part(param.data) if _is_cut(param) else local_tensor(param)


def take_share(param: nn.Parameter, full: torch.Tensor) -> torch.Tensor:
    """This rank's share of a whole copy."""
    return _part(full) if _is_cut(param) else take_slice(param, full)


def gather_shares(param: nn.Parameter, share: torch.Tensor) -> torch.Tensor:
    """The whole copy from every rank's share of it, any dtype. A collective under ZeRO, free otherwise."""
    return replacement(param, share) if _is_cut(param) else gather_slices(param, share)


def replacement(param: nn.Parameter, share: torch.Tensor) -> torch.Tensor:
    """What can stand for the parameter: the share under ZeRO-3, else the whole copy. A collective under ZeRO-1 and 2.

    Args:
        param: the parameter whose copy it is.
        share: of this rank, any dtype.
    """
    if not _is_cut(param):
        return share
    size = _share_size(param)
    whole = share.new_empty(size * dist.get_world_size())
    dist.all_gather_into_tensor(whole, torch.cat([share, share.new_zeros(size - share.numel())]))
    return whole[: param.numel()].view(param.shape)


def _is_cut(param: nn.Parameter) -> bool:
    """Whether ZeRO-1 or 2 owns the parameter and there are ranks to share with."""
    return not is_partitioned(param) and hasattr(param, "_hp_mapping") and dist.get_world_size() > 1


def _part(full: torch.Tensor) -> torch.Tensor:
    size = _share_size(full)
    return full.flatten()[dist.get_rank() * size : (dist.get_rank() + 1) * size]


def _share_size(full: torch.Tensor) -> int:
    return -(-full.numel() // dist.get_world_size())

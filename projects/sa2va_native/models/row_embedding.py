"""An embedding table whose gradient is made once, however often rows are looked up."""

from __future__ import annotations

from typing import Any
from weakref import ref

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.weak import WeakTensorKeyDictionary

#: By weight, what its lookups since the last backward pass have in common; it lives as long as one of them.
_MEETING = WeakTensorKeyDictionary()


class RowEmbedding(nn.Embedding):
    """An embedding whose lookups give gradients of rows, which become one table [V, D] where they meet.

    Torch makes a table of each lookup, nearly all zeros, and adds them up. The sum is the same, bit for bit: rows add
    up within a lookup first, then lookups.
    """

    @staticmethod
    def take_over(table: nn.Embedding) -> None:
        """Makes a plain embedding one of these. Its weight, which may be tied or owned by ZeRO-3, stays as it is."""
        table.__class__ = RowEmbedding

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight
        if not (torch.is_grad_enabled() and weight.requires_grad):
            return super().forward(input)
        known: Any = _MEETING.get(weight, lambda: None)
        meeting = known()
        if meeting is None:
            meeting = _Meeting.apply(weight)
            _MEETING[weight] = ref(meeting)
        return _Lookup.apply(meeting, weight.detach(), input, self.padding_idx)


class _Meeting(torch.autograd.Function):
    """Stands for the weight in the graph of its lookups, without values."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        return weight.new_zeros(1, 1).expand(weight.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.coalesce().to_dense()  # in a fixed order, on a GPU too


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, meeting: Tensor, weight: Tensor, ids: Tensor, padding: int | None) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.meeting, ctx.padding = meeting, padding
        return F.embedding(ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (ids,) = ctx.saved_tensors
        used, row = ids.unique(return_inverse=True)
        sums = torch.ops.aten.embedding_dense_backward(gradient, row, len(used), -1, False)
        if ctx.padding is not None:
            sums[used == ctx.padding] = 0
        size = ctx.meeting.shape
        rows = torch.sparse_coo_tensor(used[None], sums, size, is_coalesced=True, check_invariants=False)
        return rows, None, None, None

"""The embedding table's gradient, lookup by lookup."""

from __future__ import annotations

import copy
import gc
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sa2va_native.models.row_embedding import _MEETING, RowEmbedding

ROWS, WIDTH = 50, 8


def tables(dtype: torch.dtype = torch.float32, padding: int | None = None) -> tuple[nn.Embedding, nn.Embedding]:
    """Torch's, and ours with equal weights."""
    torch.manual_seed(0)
    plain = nn.Embedding(ROWS, WIDTH, padding_idx=padding, dtype=dtype)
    ours = copy.deepcopy(plain)
    RowEmbedding.take_over(ours)
    return plain, ours


def loss(table: Any, seed: int) -> Tensor:
    """Of three lookups that share rows with one another, and repeat their own."""
    draw = torch.Generator().manual_seed(seed)
    total = torch.zeros(())
    for shape in ((2, 7), (2, 3, 16), (40,)):
        ids = torch.randint(ROWS // 2, shape, generator=draw)
        wanted = torch.randn(*shape, WIDTH, generator=draw)
        total = total + (table(ids).float() * wanted).sin().sum()
    return total


@pytest.mark.parametrize(("dtype", "padding"), [(torch.float32, None), (torch.float32, 3), (torch.bfloat16, None)])
def test_the_gradient_is_torchs_bit_for_bit(dtype: torch.dtype, padding: int | None) -> None:
    """Red when lookups are mixed before their rows are summed, a row is lost, or padding is trained."""
    plain, ours = tables(dtype, padding)
    for seed in (1, 2):  # the second adds to what is kept of the first
        values = [loss(table, seed) for table in (plain, ours)]
        assert torch.equal(*values)
        for value in values:
            value.backward()
        assert torch.equal(plain.weight.grad, ours.weight.grad)
        assert ours.weight.grad.layout == torch.strided
    (asked,) = torch.autograd.grad(loss(ours, 3), ours.weight)
    (expected,) = torch.autograd.grad(loss(plain, 3), plain.weight)
    assert torch.equal(asked, expected)


def test_a_copy_and_a_tied_head_have_dense_gradients_too() -> None:
    """Red when the gradient of a copy goes to the original, or that of a weight that is used elsewhere is sparse."""
    plain, ours = tables()
    held = loss(ours, 1)  # whose graph is alive while the copy is used
    copied = copy.deepcopy(ours)
    for table in (plain, copied):
        (loss(table, 2) + (torch.ones(WIDTH) @ table.weight.T).sin().sum()).backward()
    torch.testing.assert_close(copied.weight.grad, plain.weight.grad, rtol=1e-5, atol=1e-6)
    assert ours.weight.grad is None
    held.backward()
    plain.weight.grad = None
    loss(plain, 1).backward()
    assert torch.equal(ours.weight.grad, plain.weight.grad)


def test_nothing_is_left_of_a_step() -> None:
    """Red when the graph of a step lives on in what its lookups had in common, or the next step adds to it."""
    _, ours = tables()
    loss(ours, 1).backward()
    gc.collect()
    assert all(one() is None for one in _MEETING.values())


def test_one_table_is_made_of_all_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when each lookup makes a table of its own again, 0.6 GiB at 4B."""
    made: list[Tensor] = []
    to_dense = Tensor.to_dense
    monkeypatch.setattr(Tensor, "to_dense", lambda self: made.append(self) or to_dense(self))
    _, ours = tables()
    loss(ours, 1).backward()
    assert [tuple(one.shape) for one in made] == [(ROWS, WIDTH)]

"""Slopes against finite differences, on readers whose cost is a known function of the embedding."""

from __future__ import annotations

import torch

from pseudo_gumbel.diagnosis.slopes import exact_push, slopes

N, K, D = 5, 4, 3


def words(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(N, K, D, generator=draw)
    log_p = torch.randn(N, K, generator=draw).log_softmax(1)
    return rows, log_p, torch.ones(N, K, dtype=torch.bool)


def test_the_exact_push_is_the_gradient_of_the_expected_cost() -> None:
    """Against autograd on the logits."""
    logits = torch.randn(N, K, generator=torch.Generator().manual_seed(1), requires_grad=True)
    costs = torch.rand(N, K, generator=torch.Generator().manual_seed(2))
    (expected,) = torch.autograd.grad((logits.softmax(1) * costs).sum(), logits)
    torch.testing.assert_close(exact_push(logits.detach().log_softmax(1), costs), expected)


def test_a_linear_reader_promises_what_it_brings() -> None:
    """The slope is then the finite difference. Red when slope and swap belong to different words, or differ in sign."""
    rows, log_p, kept = words()
    weight = torch.tensor([1.0, -2.0, 0.5])
    found = slopes(lambda x: x @ weight, rows, log_p, kept, rows @ weight, torch.Generator().manual_seed(0))
    real = ~found.fall.isnan()
    assert real.any()
    torch.testing.assert_close(found.fall[real], torch.ones(int(real.sum())))
    assert (found.sign[real] == 1).all()
    many = slopes(
        lambda x: x @ weight, rows, log_p, kept, rows @ weight, torch.Generator().manual_seed(0), draws=4000, soft=1.0
    )
    assert (many.straight_through > 0.85).all(), "biased, but on a linear reader close"
    assert (many.soft > 0.85).all()


def test_a_reader_of_steps_is_flat_at_its_words() -> None:
    """The cost falls half-way between two words. Red when a slope there is taken at the words, or the reverse."""
    rows = torch.tensor([[[0.0], [1.0]]]).repeat(N, 1, 1)
    log_p = torch.tensor([[0.6, 0.4]]).log().repeat(N, 1)

    def step(x: torch.Tensor) -> torch.Tensor:
        return 1 - torch.sigmoid(12 * (x[:, 0] - 0.5))

    costs = torch.stack([step(rows[:, 0]), step(rows[:, 1])], 1)
    kept = torch.ones(N, 2, dtype=torch.bool)
    found = slopes(step, rows, log_p, kept, costs, torch.Generator().manual_seed(0))
    height = float(costs[0, 0] - costs[0, 1])
    derivative = 12 * float(costs[0, 0]) * (1 - float(costs[0, 0]))
    torch.testing.assert_close(found.fall, torch.full((N,), derivative / height))
    assert float(found.fall[0]) < 0.05
    assert (found.soft > 0.99).all()


def test_words_left_out_push_nothing() -> None:
    """Red when a word that the captioner would not say turns the direction."""
    rows, log_p, kept = words(3)
    kept[:, -1] = False
    log_p = log_p.masked_fill(~kept, -1e4).log_softmax(1)
    weight = torch.tensor([1.0, -2.0, 0.5])
    costs = rows @ weight
    found = slopes(lambda x: x @ weight, rows, log_p, kept, costs, torch.Generator().manual_seed(0))
    rows[:, -1] *= 100
    costs[:, -1] *= 100
    again = slopes(lambda x: x @ weight, rows, log_p, kept, costs, torch.Generator().manual_seed(0))
    for one, other in zip(found, again, strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)

"""Slopes against finite differences, on readers whose cost is a known function of the embedding."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pseudo_gumbel.diagnosis.slopes import Slopes, exact_push, pathwise_push, slopes

N, K, D = 5, 4, 3


def words(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(N, K, D, generator=draw), torch.randn(N, K, generator=draw).log_softmax(1)


def noise() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(N)]


def looked(
    reader: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor, log_p: torch.Tensor, **options: float
) -> Slopes:
    """Of a reader that costs a function of the embedding, [..., D] -> [...]."""
    return slopes(lambda weights: reader(weights @ rows), log_p, reader(rows), noise(), **options)


def test_the_exact_push_is_the_gradient_of_the_expected_cost() -> None:
    """Against autograd on the logits."""
    logits = torch.randn(N, K, generator=torch.Generator().manual_seed(1), requires_grad=True)
    costs = torch.rand(N, K, generator=torch.Generator().manual_seed(2))
    (expected,) = torch.autograd.grad((logits.softmax(1) * costs).sum(), logits)
    torch.testing.assert_close(exact_push(logits.detach().log_softmax(1), costs), expected)


def test_a_push_belongs_to_its_own_word() -> None:
    """Near no noise, a soft push is that of the mixture p: autograd without Gumbel words. Red when words are mixed up.

    The noise does not vanish, but a cost that is linear in the weights and a high temperature leave the order: the push
    on each word is p (c - E[c]) / tau with p nearly uniform, whatever the noise.
    """
    _, log_p = words()
    costs = torch.randn(N, K, generator=torch.Generator().manual_seed(5))
    found = pathwise_push(
        lambda weights: (weights * costs[:, None]).sum(-1),
        log_p,
        noise(),
        temperature=1e4,
        straight_through=False,
        draws=3,
    )
    expected = (costs - costs.mean(1, keepdim=True)) / K / 1e4
    torch.testing.assert_close(found, expected, rtol=0.02, atol=1e-7)


def test_a_linear_reader_promises_what_it_brings() -> None:
    """The slope is then the finite difference. Red when slope and swap belong to different words, or differ in sign."""
    rows, log_p = words()
    weight = torch.tensor([1.0, -2.0, 0.5])
    found = looked(lambda x: x @ weight, rows, log_p)
    real = ~found.fall.isnan()
    assert real.any()
    torch.testing.assert_close(found.fall[real], torch.ones(int(real.sum())))
    assert (found.sign[real] == 1).all()
    many = looked(lambda x: x @ weight, rows, log_p, draws=4000, soft=1.0)
    assert (many.straight_through > 0.85).all(), "biased, but on a linear reader close"
    assert (many.soft > 0.85).all()


def test_a_reader_of_steps_is_flat_at_its_words() -> None:
    """The cost falls half-way between two words. Red when a slope there is taken at the words, or the reverse."""
    rows = torch.tensor([[[0.0], [1.0]]]).repeat(N, 1, 1)
    log_p = torch.tensor([[0.6, 0.4]]).log().repeat(N, 1)

    def step(x: torch.Tensor) -> torch.Tensor:
        return 1 - torch.sigmoid(12 * (x[..., 0] - 0.5))

    costs = step(rows)
    found = looked(step, rows, log_p)
    height = float(costs[0, 0] - costs[0, 1])
    derivative = 12 * float(costs[0, 0]) * (1 - float(costs[0, 0]))
    torch.testing.assert_close(found.fall, torch.full((N,), derivative / height))
    assert float(found.fall[0]) < 0.05
    assert (found.soft > 0.99).all()


def test_words_left_out_push_nothing() -> None:
    """Red when a word that the captioner would not say turns the direction."""
    rows, log_p = words(3)
    log_p = log_p.masked_fill(torch.arange(K) == K - 1, -torch.inf).log_softmax(1)
    weight = torch.tensor([1.0, -2.0, 0.5])
    found = looked(lambda x: x @ weight, rows, log_p)
    rows[:, -1] *= 100
    again = looked(lambda x: x @ weight, rows, log_p)
    assert not found.soft.isnan().any()
    for one, other in zip(found, again, strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)

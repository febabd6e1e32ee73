"""Gumbel-Rao: conditional noise against the unconditional one, the gradient against plain straight-through."""

from __future__ import annotations

import pytest
import torch

from pseudo_gumbel.estimators import GumbelRao, StraightThroughGumbel
from pseudo_gumbel.estimators.pathwise_rao import perturb_given
from pseudo_gumbel.step import Captions
from sa2va_native.errors import ConfigError
from tests.tiny import cycle_step

V = 4
LOGITS = torch.tensor([1.0, 0.3, -0.5, 0.1], dtype=torch.float64)
COST = torch.randn(V, V, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_noise_given_its_word_leads_to_that_word_and_is_gumbel_noise_over_all_words() -> None:
    """Red when the condition is not met, or a scale is wrong: the mixture over words has Gumbel's distribution."""
    draws = 40_000
    choices = torch.multinomial(LOGITS.softmax(-1), draws, True, generator=torch.Generator().manual_seed(0))
    hard = torch.nn.functional.one_hot(choices, V).double()[None, :, None]
    generators = [torch.Generator().manual_seed(1)]
    perturbed = perturb_given(LOGITS.expand(1, draws, 1, V), hard, generators, 1)[0, :, 0, 0]
    assert torch.equal(perturbed.argmax(-1), choices)
    noise, levels = perturbed - LOGITS, torch.tensor([-1.0, 0.0, 1.0, 2.0], dtype=torch.float64)
    share = (noise[:, :, None] < levels).double().mean(0)
    torch.testing.assert_close(share, torch.exp(-torch.exp(-levels)).expand(V, 4), atol=0.012, rtol=0)
    assert torch.corrcoef(noise.T).fill_diagonal_(0).abs().max() < 0.03, "noises of words are independent"


def test_large_logits_stay_in_range() -> None:
    """Red when a constant that is added to all logits changes the noise, or float32 overflows."""
    logits, hard = torch.tensor([200.0, 199.0, -200.0]), torch.tensor([0.0, 1.0, 0.0])
    found = [
        perturb_given(one.expand(1, 1, 1, 3), hard.expand(1, 1, 1, 3), [torch.Generator().manual_seed(0)], 5) - one
        for one in (logits, logits - 150)
    ]
    assert torch.equal(found[0].isfinite(), found[1].isfinite())
    torch.testing.assert_close(found[0][..., :2], found[1][..., :2], rtol=1e-4, atol=1e-4)
    assert found[0][..., :2].isfinite().all()


def gradients(estimator: StraightThroughGumbel, draws: int) -> torch.Tensor:
    """[draws, V] of single draws on a quadratic cost: one caption, a draw at each of its positions."""
    logits = LOGITS.expand(1, draws, V).clone().requires_grad_()
    words = estimator.words(cycle_step(logits, Captions([torch.zeros(draws).long()], [True])))
    weights = torch.zeros(1, draws, V, dtype=torch.float64).scatter(-1, words.candidates, words.weights)
    return torch.autograd.grad(((weights @ COST) * weights).sum(), logits)[0][0]


def test_the_same_words_and_mean_gradient_with_less_variance() -> None:
    """Red when the words change, or gradient flows through the condition, which would bias the mean."""
    draws = 20_000
    plain, rao = (gradients(one, draws) for one in (StraightThroughGumbel(0.7, V), GumbelRao(8, top_k=V)))
    spread = (plain.var(0) / draws + rao.var(0) / draws).sqrt()
    assert ((plain.mean(0) - rao.mean(0)).abs() / spread).max() < 4
    assert (rao.var(0) < 0.9 * plain.var(0)).all()
    step = cycle_step(torch.randn(2, 3, 20), Captions([torch.arange(3), torch.arange(2)], [True, True]))
    assert torch.equal(GumbelRao(8, top_k=V).words(step).ids, StraightThroughGumbel(0.7, V).words(step).ids)


def test_words_that_are_out_and_draws() -> None:
    """Red when a word without probability makes the gradient nan, or a position's noise depends on padding."""
    logits = torch.randn(2, 3, 20, dtype=torch.float64).requires_grad_()
    captions = Captions([torch.tensor([3, 1, 4]), torch.tensor([1, 5])], [True, False])
    words = GumbelRao(4, top_k=8, draws=2, min_p=0.3).words(cycle_step(logits, captions))
    (gradient,) = torch.autograd.grad((words.weights * torch.randn(4, 3, 8)).sum(), logits)
    p = logits.detach().softmax(-1)
    assert torch.isfinite(gradient).all()
    assert not gradient[p < 0.3 * p.max(-1, keepdim=True).values].any()
    assert gradient.any()
    hard = torch.eye(5, dtype=torch.float64)[:3].expand(1, 3, 5)[:, :, None]
    rows = [perturb_given(torch.zeros_like(one), one, [torch.Generator()], 2) for one in (hard, hard[:, :2])]
    assert torch.equal(rows[0][:, :2], rows[1])


def test_no_noise_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="noises=0"):
        GumbelRao(0)

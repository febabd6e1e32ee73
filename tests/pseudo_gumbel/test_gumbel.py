"""Gumbel-Softmax words against closed forms and PyTorch's own Gumbel distribution."""

from __future__ import annotations

import pytest
import torch

from pseudo_gumbel.gumbel import gumbel_noise, gumbel_words
from sa2va_native.errors import ConfigError


def draws(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + i) for i in range(count)]


def test_forward_is_exactly_one_hot():
    """Red when the one-hot is made as ``hard + soft - soft.detach()``, which is 1 only up to rounding."""
    logits = torch.randn(3, 50, 200, generator=torch.Generator().manual_seed(0)).requires_grad_()
    words = gumbel_words(logits, draws(3), top_k=64)
    assert torch.equal(words.weights.sum(-1), torch.ones(3, 50))
    assert torch.equal(words.weights.sort(-1).values[..., :-1], torch.zeros(3, 50, 63))
    assert torch.equal(words.candidates.gather(-1, words.weights.argmax(-1, keepdim=True))[..., 0], words.ids)


def test_backward_is_the_gradient_of_the_soft_words():
    """Red when the straight-through gradient is scaled, cut, or taken at another point than the soft words."""
    logits = torch.randn(2, 4, 20, dtype=torch.float64).float()
    upstream = torch.randn(2, 4, 8)
    gradients = []
    for straight_through in (True, False):
        leaf = logits.clone().requires_grad_()
        words = gumbel_words(leaf, draws(2), top_k=8, straight_through=straight_through)
        (words.weights * upstream).sum().backward()
        gradients.append(leaf.grad)
    assert gradients[0].abs().sum() > 0
    assert torch.equal(*gradients)


def test_soft_words_are_the_tempered_softmax_of_perturbed_logits():
    """Red when temperature is applied to the noise or the logits alone, or noise is added before the top k."""
    logits, tau, k = torch.randn(1, 3, 30), 0.5, 10
    words = gumbel_words(logits, draws(1), temperature=tau, top_k=k, straight_through=False)
    best, candidates = logits.topk(k)
    expected = ((best + gumbel_noise((3, k), draws(1), logits.device)) / tau).softmax(-1)
    assert torch.equal(words.candidates, candidates)
    torch.testing.assert_close(words.weights, expected)


def test_gradient_reaches_the_top_k_and_nothing_else():
    logits = torch.randn(1, 2, 30).requires_grad_()
    words = gumbel_words(logits, draws(1), top_k=5)
    (words.weights * torch.randn(1, 2, 5)).sum().backward()
    assert (logits.grad != 0).sum(-1).tolist() == [[5, 5]]


def test_samples_follow_the_categorical_distribution():
    """Gumbel-max: the share of each hard word is its softmax probability. Red when the noise is not Gumbel."""
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    words = gumbel_words(logits.expand(1, 20_000, 4), draws(1), top_k=4)
    share = torch.bincount(words.ids[0], minlength=4) / 20_000
    torch.testing.assert_close(share, logits.softmax(-1), atol=0.012, rtol=0)


def test_noise_is_standard_gumbel_in_float32():
    noise = gumbel_noise((200_000,), draws(1), torch.device("cpu"))[0]
    reference = torch.distributions.Gumbel(0.0, 1.0)
    assert noise.dtype == torch.float32
    assert abs(float(noise.mean()) - float(reference.mean)) < 0.01
    assert abs(float(noise.std()) - float(reference.stddev)) < 0.01
    # 256 values below 1, as in bfloat16, could not tell so many apart
    assert noise.unique().numel() > 100_000


@pytest.mark.parametrize("straight_through", [True, False])
def test_log_probabilities_are_those_of_the_plain_softmax(straight_through):
    """Red when they are of the tempered, perturbed or cut distribution, which is not the student's."""
    logits = torch.randn(2, 3, 30).bfloat16().requires_grad_()
    words = gumbel_words(logits, draws(2), temperature=0.3, top_k=5, straight_through=straight_through)
    expected = logits.float().log_softmax(-1).gather(-1, words.ids[..., None])[..., 0]
    torch.testing.assert_close(words.log_probs, expected)
    assert words.log_probs.requires_grad


def test_bfloat16_logits_are_computed_in_float32():
    words = gumbel_words(torch.randn(1, 2, 30).bfloat16(), draws(1), top_k=5, straight_through=False)
    assert words.weights.dtype == torch.float32


def test_a_sample_draws_the_same_alone_and_in_a_batch():
    """Red when one generator serves the whole batch: results then depend on the number of ranks."""
    logits = torch.randn(2, 4, 20)
    together = gumbel_words(logits, draws(2), top_k=8)
    alone = gumbel_words(logits[1:, :3], draws(2)[1:], top_k=8)
    assert torch.equal(together.weights[1:, :3], alone.weights)


@pytest.mark.parametrize("top_k", [0, 21])
def test_top_k_outside_the_vocabulary_is_refused(top_k):
    with pytest.raises(ConfigError, match="vocabulary of 20"):
        gumbel_words(torch.randn(1, 1, 20), draws(1), top_k=top_k)


def test_temperature_must_be_positive():
    with pytest.raises(ConfigError, match="temperature=0"):
        gumbel_words(torch.randn(1, 1, 20), draws(1), temperature=0, top_k=5)


def test_one_draw_is_the_softmax_of_the_methods_noise_exactly():
    """Red when a draw more or less changes the noise of runs that have one draw."""
    logits, (first, second) = torch.randn(2, 5, 30), draws(2)
    best, candidates = logits.topk(10)
    uniform = torch.stack([torch.rand(5, 10, generator=one) for one in (first, second)])
    perturbed = best - torch.log(-torch.log(uniform.clamp(min=torch.finfo(torch.float32).tiny)))
    words = gumbel_words(logits, draws(2), temperature=0.7, top_k=10, straight_through=False)
    assert torch.equal(words.weights, (perturbed / 0.7).softmax(-1))
    assert torch.equal(words.ids, candidates.gather(-1, perturbed.argmax(-1, keepdim=True))[..., 0])


def test_draws_are_rows_of_a_sample_with_noise_of_their_own():
    """Red when rows of two samples are mixed, or draws share noise."""
    logits, tau = torch.randn(2, 3, 30), 0.5
    words = gumbel_words(logits, draws(2), temperature=tau, top_k=10, straight_through=False, draws=4)
    best, candidates = logits.topk(10)
    noise = gumbel_noise((3, 4, 10), draws(2), logits.device)
    for sample in range(2):
        for draw in range(4):
            row = 4 * sample + draw
            expected = ((best[sample] + noise[sample, :, draw]) / tau).softmax(-1)
            torch.testing.assert_close(words.weights[row], expected)
            assert torch.equal(words.candidates[row], candidates[sample])
            torch.testing.assert_close(
                words.log_probs[row], logits[sample].log_softmax(-1).gather(-1, words.ids[row, :, None])[..., 0]
            )
    flat = noise.transpose(1, 2).flatten(0, 1).flatten(1)
    assert torch.corrcoef(flat).fill_diagonal_(0).abs().max() < 0.6
    assert len(flat.unique(dim=0)) == 8


def test_draws_do_not_depend_on_padding_or_the_batch():
    """Red when the draws of a position come after those of all positions: padding T would change them."""
    logits = torch.randn(2, 4, 20)
    together = gumbel_words(logits, draws(2), top_k=8, draws=3)
    alone = gumbel_words(logits[1:, :3], draws(2)[1:], top_k=8, draws=3)
    assert torch.equal(together.weights[3:, :3], alone.weights)


@pytest.mark.parametrize("straight_through", [True, False])
def test_min_p_removes_words_by_the_students_probability(straight_through):
    """Red when the share is of the whole, or of the tempered or perturbed distribution; or a gradient remains."""
    logits, min_p = (2 * torch.randn(1, 50, 30)).requires_grad_(), 0.2
    p = logits.detach().softmax(-1)
    kept = p >= min_p * p.max(-1, keepdim=True).values
    assert 1 < int(kept.sum(-1).min()) + 1 < int(kept.sum(-1).max())
    words = gumbel_words(logits, draws(1), temperature=5.0, top_k=30, min_p=min_p, straight_through=straight_through)
    (words.weights * torch.randn(1, 50, 30)).sum().backward()
    alive = torch.zeros_like(kept).scatter(-1, words.candidates, words.weights.detach() > 0)
    assert torch.equal(alive & kept, alive)
    assert straight_through or torch.equal(alive, kept)
    assert not logits.grad[~kept].any()
    several = kept.sum(-1, keepdim=True) > 1
    assert (logits.grad != 0)[kept & several].all()
    assert kept.gather(-1, words.ids[..., None]).all()


def test_the_words_that_min_p_keeps_have_the_weights_that_they_have_among_themselves():
    logits = torch.tensor([[[3.0, 2.5, 1.0, -1.0]]])  # p / p_max: 1, .61, .14, .02
    words = gumbel_words(logits, draws(1), temperature=2.0, top_k=4, min_p=0.5, straight_through=False)
    noise = gumbel_noise((1, 4), draws(1), logits.device)
    expected = ((logits + noise)[..., :2] / 2.0).softmax(-1)
    torch.testing.assert_close(words.weights, torch.cat([expected, torch.zeros(1, 1, 2)], -1))


def test_soft_words_have_the_gradient_of_the_softmax_by_hand():
    """(1 / tau) y (u - y.u) in float64. Red when the noise, the top k or the temperature enters the gradient twice."""
    logits = torch.randn(2, 3, 12, dtype=torch.float64).requires_grad_()
    upstream = torch.randn(4, 3, 12, dtype=torch.float64)
    words = gumbel_words(logits, draws(2), temperature=2.0, top_k=5, straight_through=False, draws=2)
    (words.weights * upstream.gather(-1, words.candidates)).sum().backward()
    expected = torch.zeros_like(logits)
    for row, (y, ids) in enumerate(zip(words.weights.detach(), words.candidates, strict=True)):
        u = upstream[row].gather(-1, ids)
        expected[row // 2].scatter_add_(-1, ids, y * (u - (y * u).sum(-1, keepdim=True)) / 2.0)
    torch.testing.assert_close(logits.grad, expected)

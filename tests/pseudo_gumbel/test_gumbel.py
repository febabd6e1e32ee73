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

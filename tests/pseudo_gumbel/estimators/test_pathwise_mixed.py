"""Words between hard and soft."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pseudo_gumbel.estimators import MixedGumbel, SoftGumbel, StraightThroughGumbel
from pseudo_gumbel.gumbel import Words
from pseudo_gumbel.step import Captions
from sa2va_native.errors import ConfigError
from tests.tiny import cycle_step

TEACHER = Captions([torch.tensor([3, 1, 4]), torch.tensor([1, 5])], [True, False])
OPTIONS: dict[str, Any] = dict(temperature=2.0, top_k=8, draws=3, min_p=0.01)


def words_and_gradient(estimator: StraightThroughGumbel) -> tuple[Words, torch.Tensor]:
    logits = torch.randn(2, 3, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    upstream = torch.randn(6, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    words = estimator.words(cycle_step(logits, TEACHER))
    return words, torch.autograd.grad((words.weights * upstream).sum(), logits)[0]


def test_a_share_of_the_mixture_and_the_rest_of_the_word() -> None:
    """Red when the shares are swapped, the noise is another, or the gradient is scaled by the share."""
    hard, of_hard = words_and_gradient(StraightThroughGumbel(**OPTIONS))
    soft, of_soft = words_and_gradient(SoftGumbel(**OPTIONS))
    mixed, of_mixed = words_and_gradient(MixedGumbel(soft_share=0.3, **OPTIONS))
    torch.testing.assert_close(mixed.weights, 0.3 * soft.weights + 0.7 * hard.weights)
    assert torch.equal(mixed.ids, hard.ids)
    assert torch.equal(of_mixed, of_soft)
    assert torch.equal(of_mixed, of_hard)


@pytest.mark.parametrize(("share", "other"), [(0.0, StraightThroughGumbel), (1.0, SoftGumbel)])
def test_the_ends_are_hard_and_soft_words(share: float, other: type[StraightThroughGumbel]) -> None:
    mixed, expected = words_and_gradient(MixedGumbel(share, **OPTIONS)), words_and_gradient(other(**OPTIONS))
    assert torch.equal(mixed[0].weights, expected[0].weights)
    assert torch.equal(mixed[1], expected[1])


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_outside_its_range_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=f"soft_share={share}"):
        MixedGumbel(share)

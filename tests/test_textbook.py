"""The step against a plain form of the same maths."""

from __future__ import annotations

from contextlib import nullcontext

import torch

from benchmarks.textbook import Textbook
from benchmarks.train_step import Ours, noise
from tests.tiny import tiny_pseudo_gumbel


def test_a_step_has_the_losses_and_gradients_of_the_textbook_loop() -> None:
    """Red when a saving changes the maths: a shared picture, a head at caption positions only, a shared weight."""
    outcomes = []
    for loop in (Ours, Textbook):
        torch.manual_seed(0)  # of LoRA
        model = tiny_pseudo_gumbel()
        batch = noise(model.student, 3, "cpu", frames=1)
        batch.caption_side.region[1, 0] = True  # prompts of different lengths
        trained = model.gradient_groups()
        losses, captions = loop(model).losses(batch, lambda name: nullcontext())
        torch.stack(list(losses.values())).sum().backward()
        gradients = [p.grad for group in trained.values() for p in group if p.grad is not None]
        outcomes.append(([ids.tolist() for ids in captions], losses, gradients))
    (said, losses, gradients), (said_plainly, plain_losses, plain_gradients) = outcomes
    assert said == said_plainly
    assert any(said)
    torch.testing.assert_close(losses, plain_losses, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradients, plain_gradients, rtol=1e-4, atol=1e-6)

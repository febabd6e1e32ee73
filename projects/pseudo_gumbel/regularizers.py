"""Optional losses that keep captions in language; off by default, picked by ``model.regularizers`` in the config.

Nothing in the cycle itself requires language: any code that captioner and referrer share finds the mask. These terms
need no further forward pass, since they use what the step has already computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pseudo_gumbel.registry import REGULARIZERS
from pseudo_gumbel.step import CycleStep
from sa2va_native.models.losses import language_loss
from sa2va_native.models.prompts import NO_LABEL


class Regularizer(Protocol):
    """A named loss on a whole step: called last, when words, costs and losses are known."""

    name: str

    def __call__(self, step: CycleStep) -> Tensor: ...


@REGULARIZERS.register_module()
class CaptionAnchor:
    """Language loss on the corrupted tokens: the student restores the teacher's words, as in masked language modelling.

    Args:
        weight: factor of the loss, > 0.
    """

    name = "loss_anchor"

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, step: CycleStep) -> Tensor:
        labels = [torch.where(c == t, NO_LABEL, t) for t, c in zip(step.captions.ids, step.corrupted, strict=True)]
        return self.weight * language_loss(step.logits, _padded(labels, step.logits))


@REGULARIZERS.register_module()
class CaptionEntropy:
    """Minus the entropy of the student's words, in nats per token: which keeps it from becoming certain too early.

    Args:
        weight: factor of the loss; a negative one makes the student more certain instead.
    """

    name = "loss_entropy"

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, step: CycleStep) -> Tensor:
        real = step.worded
        log_p = step.logits.float().log_softmax(-1)
        entropy = -(log_p.exp() * log_p).sum(-1)
        per_sample = (entropy * real).sum(1) / real.sum(1).clamp(min=1)
        return -self.weight * per_sample.mean()


def _padded(rows: Sequence[Tensor], logits: Tensor) -> Tensor:
    """[B, T] labels for logits [B, T, V], :data:`NO_LABEL` past the end."""
    full = torch.full((logits.shape[1],), NO_LABEL)
    return pad_sequence([*rows, full], batch_first=True, padding_value=NO_LABEL)[:-1].to(logits.device)

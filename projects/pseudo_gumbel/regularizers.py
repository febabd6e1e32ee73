"""Optional losses that keep captions in language; off by default, picked by ``model.regularizers`` in the config.

Nothing in the cycle itself requires language: any code that captioner and referrer share finds the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from pseudo_gumbel.gumbel import widened
from pseudo_gumbel.registry import REGULARIZERS
from pseudo_gumbel.step import CycleStep
from pseudo_gumbel.student import Student
from sa2va_native.errors import ConfigError
from sa2va_native.models.adapters import lora_layers
from sa2va_native.models.losses import language_loss
from sa2va_native.models.prompts import NO_LABEL


class Regularizer(Protocol):
    """A named loss on a whole step: called last, when words, costs and losses are known.

    Inherit from this class for the defaults. All ranks must do the same forward passes, whatever captions they hold.
    """

    name: str  #: of the loss; two regularizers of a model differ in it
    rates_stop: bool = False  #: whether it needs logits of the stop word, if the caption has one

    def check(self, student: Student) -> None:
        """Refuse a student that this loss says nothing about; called once, when the model is built.

        Raises:
            ConfigError: naming the regularizer.
        """

    def __call__(self, step: CycleStep) -> Tensor: ...


@REGULARIZERS.register_module()
class CaptionAnchor(Regularizer):
    """Language loss on the corrupted tokens: the student restores the teacher's words, as in masked language modelling.

    It uses what the step has already computed.

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
class CaptionEntropy(Regularizer):
    """Minus the entropy of the student's words, in nats per token: which keeps it from becoming certain too early.

    It uses what the step has already computed.

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


@REGULARIZERS.register_module()
class TeacherKL(Regularizer):
    """KL(student || EMA teacher), in nats per token, over caption and stop tokens: the student keeps to its own words.

    The reverse direction: it holds the student to words that the teacher might say and lets it choose among them, as
    the KL term of policy gradients on language models does (e.g. Ziegler et al., arXiv:1909.08593). The teacher reads
    its own caption, the student the corrupted one. It takes one forward pass of the teacher, shared with whatever else
    uses ``step.teacher_logits``. Without EMATeacherHook the teacher is the student itself, and the loss what corruption
    and dropout change.

    Args:
        weight: factor of the loss, > 0. It is a mean over the tokens of a caption, then over the B samples; empty
            captions weigh nothing.

    Raises:
        ConfigError: ``weight`` is not positive.
    """

    name = "loss_teacher_kl"
    rates_stop = True  # a caption's end is language too, and would be lost first

    def __init__(self, weight: float) -> None:
        if weight <= 0:
            raise ConfigError(
                f"{type(self).__name__}.weight={weight}: must be positive; without it, leave the term out"
            )
        self.weight = weight

    def __call__(self, step: CycleStep) -> Tensor:
        student, reference = (widened(one).log_softmax(-1) for one in (step.logits, self.reference(step)))
        rated = step.rated
        per_sample = (self.divergence(student, reference) * rated).sum(1) / rated.sum(1).clamp(min=1)
        return self.weight * (step.spoken * per_sample).mean()

    def reference(self, step: CycleStep) -> Tensor:
        """Logits [B, T + E, V] that the student is held to, without gradient."""
        return step.teacher_logits

    def divergence(self, student: Tensor, reference: Tensor) -> Tensor:
        """[B, T + E] from log-probabilities [B, T + E, V]."""
        return kl_divergence(student, reference)


@REGULARIZERS.register_module()
class ForwardTeacherKL(TeacherKL):
    """KL(EMA teacher || student): the student keeps all of the teacher's words. Distillation of what it said before.

    Args: see :class:`TeacherKL`.
    """

    name = "loss_forward_teacher_kl"

    def divergence(self, student: Tensor, reference: Tensor) -> Tensor:
        return kl_divergence(reference, student)


@REGULARIZERS.register_module()
class BaseKL(TeacherKL):
    """KL(student || student without LoRA): the language model's layers keep to what they were before adapters.

    Only the adapters are switched off. What is trained in place, the projector, the embedding table and the output
    head, stays as it is by then, on both sides: so this is an anchor for the language model's layers, not for the
    whole captioner. For the latter use :class:`TeacherKL` with ``EMATeacherHook(decay=1.0)``, a teacher that never
    moves, which costs 4 bytes per trained parameter; this one costs a forward pass and no memory.

    Args: see :class:`TeacherKL`.

    Raises:
        ConfigError: ``weight`` is not positive, or the student has no adapters.
    """

    name = "loss_base_kl"

    def check(self, student: Student) -> None:
        if not lora_layers(cast(nn.Module, student)):
            raise ConfigError(
                "BaseKL: the student has no LoRA adapters, so it would be compared with itself. Set model.sa2va.lora, "
                "or use TeacherKL."
            )

    def reference(self, step: CycleStep) -> Tensor:
        return step.base_logits


def kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) in nats over the last axis, from log-probabilities [..., V] -> [...]."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def _padded(rows: Sequence[Tensor], logits: Tensor) -> Tensor:
    """[B, T] labels for logits [B, T, V], :data:`NO_LABEL` past the end."""
    full = torch.full((logits.shape[1],), NO_LABEL)
    return pad_sequence([*rows, full], batch_first=True, padding_value=NO_LABEL)[:-1].to(logits.device)

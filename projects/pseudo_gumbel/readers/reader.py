"""Step 5: words become masks. The interface of all readers, and the reading itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pseudo_gumbel.gumbel import Words
from pseudo_gumbel.shadow import Shadow
from pseudo_gumbel.step import CycleStep
from sa2va_native.errors import ConfigError
from sa2va_native.models.evaluating import evaluating


class Reading(NamedTuple):
    """What a reader makes of N rows of words."""

    text_embeds: Tensor  #: [N, T, D] the words as points of the reader's input embedding space
    mask_logits: Tensor  #: [N, h, w] of picture 2


class Reader(Protocol):
    """Whose weights turn words, hard or soft, one or several rows per sample, into masks."""

    learns: bool  #: whether it is trained itself when it reads with gradient

    def __call__(self, model: Any, step: CycleStep, words: Words, *, gradient: bool) -> Reading:
        """Read ``words`` on picture 2 of ``step``.

        Args:
            model: :class:`pseudo_gumbel.model.PseudoGumbel`, for its ``student`` and ``teacher``.
            step: pictures, captions and keys.
            words: N rows, those of a sample one after the other.
            gradient: whether gradient flows through the reading. Without it, dropout is off too.
        """
        ...


def read(student: Any, step: CycleStep, words: Words) -> Reading:
    """Reads with whatever weights ``student`` has at the moment."""
    text_embeds = embed_words(student, words)
    return Reading(text_embeds, masks_from_text(student, step, text_embeds))


def read_without_gradient(model: Any, step: CycleStep, words: Words, shadow: Shadow | None = None) -> Reading:
    """Reads with the weights of ``shadow``, or the student's own. Works under every ZeRO stage."""
    with torch.no_grad(), shadow.applied_to(model) if shadow else nullcontext(), evaluating(model):
        return read(model.student, step, words)


def read_with_constants(model: Any, step: CycleStep, words: Words, shadow: Shadow | None = None) -> Reading:
    """Reads with the weights of ``shadow``, or the student's, as constants: gradient reaches the words alone.

    Raises:
        ConfigError: under ZeRO-3, where no rank has whole tensors.
    """
    if model.student.is_partitioned:
        raise ConfigError(
            f"model.reader={type(model.reader).__name__} with a gradient to the words needs whole tensors, but ZeRO-3 "
            "splits them: use ZeRO-1 or ZeRO-2, or reader=dict(type=StudentReader)."
        )
    tensors = shadow.weights() if shadow else dict(model.named_parameters())
    weights = {f"model.{name}": tensor.detach() for name, tensor in tensors.items()}
    # In evaluation mode, as for captioning: no dropout, and no layers that the backward pass would compute again after
    # these weights are gone.
    with evaluating(model):
        return functional_call(_Call(model), weights, (lambda: read(model.student, step, words),))


def embed_words(student: Any, words: Words) -> Tensor:
    """Words as points [N, T, D] of the input embedding space."""
    rows = student.embedding(words.candidates)
    return torch.einsum("btk,btkd->btd", words.weights.to(rows.dtype), rows)


def masks_from_text(student: Any, step: CycleStep, text_embeds: Tensor) -> Tensor:
    """Mask logits [N, h, w] of picture 2; the words take the place of an expression."""
    prompts, lengths = student.prompts, step.captions.lengths.tolist()
    prompted = []
    for length, key in zip(lengths, step.batch.keys, strict=True):
        question, answer = student.choose_wording(key)
        prompted.append(torch.cat([prompts.ask_segment(length, question), prompts.answer_segment(answer)]))
    samples = [sample for sample in range(len(lengths)) for _ in range(step.readings)]
    words = [embeds[: lengths[sample]] for embeds, sample in zip(text_embeds, samples, strict=True)]
    tokens = student.visual_tokens(step.pictures2.vision)
    embedded = prompts.embed(student.embedding, [prompted[i] for i in samples], [tokens[i] for i in samples], words)
    pictures = step.pictures2 if step.readings == 1 else step.pictures2.of(samples)
    return student.mask_from(student.hidden_states(embedded), embedded.ids, pictures).mask_logits


class _Call(nn.Module):
    """Lets ``functional_call`` run any function of a model with other weights."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[], Reading]) -> Reading:
        return function()

"""Step 5: words become masks. The interface of all readers, and the reading itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pseudo_gumbel.gumbel import Words
from pseudo_gumbel.shadow import Shadow
from pseudo_gumbel.step import CycleStep
from sa2va_native.errors import ConfigError
from sa2va_native.models.context import Context
from sa2va_native.models.evaluating import evaluating
from sa2va_native.models.prompts import TEXT_SLOT


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
    return Reading(text_embeds, masks_from_text(student, step, text_embeds, _lengths(step, words)))


def read_sharing_heads(student: Any, step: CycleStep, words: Words) -> Reading:
    """The same, where the readings of a sample share what stands before the words; for weights without gradient."""
    if step.readings == 1:
        return read(student, step, words)
    text_embeds = embed_words(student, words)
    return Reading(text_embeds, masks_from_shared_heads(student, step, text_embeds, _lengths(step, words)))


def read_without_gradient(model: Any, step: CycleStep, words: Words, shadow: Shadow | None = None) -> Reading:
    """Reads with the weights of ``shadow``, or the student's own. Works under every ZeRO stage."""
    with torch.no_grad(), shadow.applied_to(model) if shadow else nullcontext(), evaluating(model):
        return read_sharing_heads(model.student, step, words)


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
        return functional_call(_Call(model), weights, (lambda: read_sharing_heads(model.student, step, words),))


def embed_words(student: Any, words: Words) -> Tensor:
    """Words as points [N, T, D] of the input embedding space."""
    rows = student.embedding(words.candidates)
    return torch.einsum("btk,btkd->btd", words.weights.to(rows.dtype), rows)


def masks_from_text(student: Any, step: CycleStep, text_embeds: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
    """Mask logits [N, h, w] of picture 2; the words take the place of an expression.

    Args:
        student: with the weights that read.
        step: pictures, captions and keys.
        text_embeds: [N, T, D].
        lengths: N numbers of words that count; None: those of the captions.
    """
    prompts, lengths = student.prompts, _lengths(step) if lengths is None else lengths
    tokens, dialogues = _tokens(student, step), _dialogues(student, step)
    samples = [row // step.readings for row in range(len(lengths))]
    rows = [
        torch.cat([dialogues[i].head, _slots(length), dialogues[i].tail])
        for i, length in zip(samples, lengths, strict=True)
    ]
    words = [embeds[:length] for embeds, length in zip(text_embeds, lengths, strict=True)]
    embedded = prompts.embed(student.embedding, rows, [tokens[i] for i in samples], words)
    return student.mask_from(student.hidden_states(embedded), embedded.ids, step.pictures2).mask_logits


def masks_from_shared_heads(student: Any, step: CycleStep, text_embeds: Tensor, lengths: Sequence[int]) -> Tensor:
    """As :func:`masks_from_text` in two forward passes; gradient may flow to the words, not to the weights.

    The first reads the picture and the question up to the words, once for each sample; the second the words and what
    follows, up to ``[SEG]``, for each reading.
    """
    prompts, dialogues = student.prompts, _dialogues(student, step)
    tokens, context = _tokens(student, step), Context()
    heads = prompts.embed(student.embedding, [dialogue.head for dialogue in dialogues], tokens)
    student.hidden_states(heads, context)
    context.repeat(step.readings)

    tails = [dialogue.tail[: int(prompts.seg_positions(dialogue.tail[None])) + 1] for dialogue in dialogues]
    rows = [torch.cat([_slots(length), tails[row // step.readings]]) for row, length in enumerate(lengths)]
    words = [embeds[:length] for embeds, length in zip(text_embeds, lengths, strict=True)]
    embedded = prompts.embed(student.embedding, rows, [tokens[0][:0]] * len(rows), words)
    return student.mask_from(student.hidden_states(embedded, context), embedded.ids, step.pictures2).mask_logits


def _tokens(student: Any, step: CycleStep) -> list[Tensor]:
    """Of picture 2, [g * g, D] for each sample."""
    return student.visual_tokens(step.pictures2.vision, shown=step.pictures2.shown)


class _Dialogue(NamedTuple):
    """A question for a mask and its answer, around the words."""

    head: Tensor  #: ids, up to the words
    tail: Tensor  #: ids, from the end of the words, ``[SEG]`` among them


def _dialogues(student: Any, step: CycleStep) -> list[_Dialogue]:
    """B of them."""
    dialogues = []
    for key in step.batch.keys:
        question, answer = student.choose_wording(key)
        asked = student.prompts.ask_segment(1, question)
        place = int((asked == TEXT_SLOT).int().argmax())
        tail = torch.cat([asked[place + 1 :], student.prompts.answer_segment(answer)])
        dialogues.append(_Dialogue(asked[:place], tail))
    return dialogues


def _slots(length: int) -> Tensor:
    return torch.full((length,), TEXT_SLOT)


def _lengths(step: CycleStep, words: Words | None = None) -> list[int]:
    """N numbers of words that count."""
    given = None if words is None else words.lengths
    return (step.per_reading(step.captions.lengths) if given is None else given).tolist()


class _Call(nn.Module):
    """Lets ``functional_call`` run any function of a model with other weights."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[], Reading]) -> Reading:
        return function()

"""Words are read on picture 2 as in the step, but rows may have any words of any length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sa2va_native.models.losses import point_bce, point_dice
from sa2va_native.models.pictures import Pictures
from sa2va_native.structures import DrawKey


class Masks(NamedTuple):
    """What N masks are worth."""

    cost: Tensor  #: [N] 2.0 BCE + 0.5 dice over all pixels
    iou: Tensor  #: [N] 0..1, at the size of the mask head's output
    empty: Tensor  #: [N] bool: no pixel is in the mask
    astray: Tensor  #: [N] bool: it covers another known object better than its own


def read(
    student: Any, pictures: Pictures, keys: Sequence[DrawKey], rows: Sequence[int], words: Sequence[Tensor]
) -> Tensor:
    """Mask logits [N, h, w] of words in place of an expression.

    Args:
        student: of the cycle, see :class:`pseudo_gumbel.student.Student`.
        pictures: picture 2 of G objects.
        keys: G keys, which choose the wording.
        rows: N indices of objects.
        words: N tensors [T_i, D] of the input embedding space.
    """
    prompts, tokens = student.prompts, student.visual_tokens(pictures.vision)
    prompted = []
    for row, embeds in zip(rows, words, strict=True):
        question, answer = student.choose_wording(keys[row])
        prompted.append(torch.cat([prompts.ask_segment(len(embeds), question), prompts.answer_segment(answer)]))
    embedded = prompts.embed(student.embedding, prompted, [tokens[row] for row in rows], list(words))
    return student.mask_from(student.hidden_states(embedded), embedded.ids, pictures.of(list(rows))).mask_logits


def mask_cost(mask_logits: Tensor, masks: Tensor) -> Tensor:
    """2.0 BCE + 0.5 dice over all pixels, [N] float32: exact, so that words can be ranked by it.

    Args:
        mask_logits: [N, h, w].
        masks: [N, h, w] in {0, 1}.
    """
    logits, labels = mask_logits.float().flatten(1), masks.float().flatten(1)
    return 2.0 * point_bce(logits, labels) + 0.5 * point_dice(logits, labels)


def measure(mask_logits: Tensor, masks: Tensor, others: Sequence[Tensor]) -> Masks:
    """Values of mask logits [N, h, w] against masks [N, h, w] and N tensors [O_i, h, w] of other objects' masks."""
    drawn, true = mask_logits.flatten(1) > 0, masks.flatten(1) > 0
    iou = _iou(drawn, true)
    best_other = torch.stack(
        [
            _iou(one.expand(len(them), -1), them.to(one.device).flatten(1)).amax() if len(them) else iou.new_zeros(())
            for one, them in zip(drawn, others, strict=True)
        ]
    )
    return Masks(mask_cost(mask_logits, masks), iou, ~drawn.any(1), best_other > iou)


def _iou(a: Tensor, b: Tensor) -> Tensor:
    return (a & b).sum(-1) / (a | b).sum(-1).clamp(min=1)

"""Other words for a caption where words are several tokens: the captioner itself spells them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pseudo_gumbel.trial import WholeWords
from sa2va_native.models.context import Context

if TYPE_CHECKING:
    from pseudo_gumbel.step import CycleStep


@torch.no_grad()
def whole_words(student: Any, step: CycleStep, positions: Tensor, first: Tensor, passes: int) -> WholeWords:
    """Goes on greedily from each first token to the end of its word.

    The question about picture 1 is read once for each sample, the caption up to the position once for each word.

    Args:
        student: with the weights that shall spell.
        step: pictures and captions.
        positions: [B, P], where the words stand in the captions.
        first: [B, P, K] ids that begin them.
        passes: M >= 1 forward passes after that of the question, the same for all words on all ranks. The last one can
            only tell that a word of M tokens has ended.
    """
    prompts = student.prompts
    shape, flat = first.shape, first.flatten().cpu()
    tokens = student.visual_tokens(step.pictures1.vision, step.side1.region, step.pictures1.shown)
    context, nothing = Context(), [tokens[0][:0]] * len(flat)
    student.hidden_states(prompts.embed(student.embedding, student.caption_prompts(step.side1.region), tokens), context)
    context.repeat(shape[1] * shape[2])
    starts = positions[..., None].expand(shape).flatten().tolist()
    captions = [caption for caption in step.captions.ids for _ in range(shape[1] * shape[2])]
    said = [
        torch.cat([caption[:start], token[None]]) for caption, start, token in zip(captions, starts, flat, strict=True)
    ]
    words, ended = [flat], [torch.zeros_like(flat, dtype=torch.bool)]
    for _ in range(passes):
        hidden = student.hidden_states(prompts.embed(student.embedding, said, nothing), context)
        logits, _ = student.next_token_logits(hidden, list(words[-1][:, None]))
        best = logits[:, 0].argmax(-1).cpu()
        ended.append(ended[-1] | ~prompts.word_pieces.continues[best])
        words.append(best)
        said = list(best[:, None])
    ids, over = torch.stack(words[:-1], 1), torch.stack(ended[1:], 1)
    lengths = 1 + (~over[:, :-1]).sum(1)
    complete = over[:, -1] & ~((lengths == 1) & prompts.word_pieces.spaces[flat])
    every = ids.masked_fill(torch.arange(passes) >= lengths[:, None], 0), lengths, complete
    return WholeWords(*(one.unflatten(0, shape).to(first.device) for one in every))

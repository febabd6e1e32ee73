"""The cycle as one writes it first: the same maths and draws as the project's step, without any of its savings.

The teacher is a copy of the whole model. Each of the three passes runs the ViT for itself. Every forward pass of the
language model rates the whole vocabulary at every position. Captions are generated to the length limit by transformers'
own loop. SAM 2's encoder is part of the graph, with gradients of its weights that nobody uses. Each lookup of
embeddings has a gradient as large as the table. Each region is a sample with pictures of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from pseudo_gumbel.corruption import corrupt
from pseudo_gumbel.readers.reader import embed_words
from pseudo_gumbel.step import Captions, CycleStep
from sa2va_native.models.normalisation import normalise
from sa2va_native.models.pictures import Pictures
from sa2va_native.structures import Batch, Side

#: Names the part of the step that runs inside its context.
Part = Callable[[str], AbstractContextManager[None]]


class Textbook:
    """One training step of :class:`pseudo_gumbel.model.PseudoGumbel`, written plainly.

    Args:
        model: gives the student's weights, the estimator, the cost and the draws; its student is trained.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.student = model, model.student
        self.teacher = copy.deepcopy(model.student).requires_grad_(False).eval()
        self.student.grounding.tower.requires_grad_(True)
        for table in (self.student.embedding, self.teacher.embedding):
            table.__class__ = nn.Embedding

    def losses(self, batch: Batch, part: Part) -> tuple[dict[str, Tensor], list[Tensor]]:
        """The losses of a cycle batch, and the teacher's captions."""
        model, student, side1 = self.model, self.student, batch.caption_side
        side2 = batch.side2
        step = CycleStep(batch, model.seed, 1, _NOTHING, _NOTHING, torch.zeros(0, dtype=torch.long), further=model)
        with part("captions"), torch.no_grad():
            step.captions = self._generate(side1)
        step.corrupted = corrupt(
            step.captions.ids, model.mask_ratio, student.prompts.word_ids, model.generators(batch, "corrupt")
        )
        with part("student's logits"):
            step.logits = self._caption_logits(side1, step.corrupted)
        with part("words"):
            step.words = model.estimator.words(step)
            step.text_embeds = embed_words(student, step.words)
        with part("mask from words"):
            step.mask_logits = self._masks(side2, step)
        with part("cost"):
            step.costs = model.mask_costs(step)
            return model.estimator.losses(step), step.captions.ids

    @torch.no_grad()
    def update_teacher(self, decay: float) -> None:
        """The average of every tensor, trained or not."""
        for mean, current in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            mean.lerp_(current, 1 - decay)

    def _generate(self, side: Side) -> Captions:
        teacher = self.teacher
        prompts = teacher.prompts
        tokens = teacher.visual_tokens(_vision(teacher, side), side.region)
        asked = prompts.embed(teacher.embedding, teacher.caption_prompts(side.region), tokens)
        no_words = [i for i in prompts.special_ids if i not in (teacher.tokenizer.eos_token_id, prompts.pad_id)]
        new_ids = teacher.mllm.generate(
            inputs_embeds=asked.inputs_embeds,
            attention_mask=asked.attention_mask,
            max_new_tokens=teacher.max_new_tokens,
            do_sample=False,
            eos_token_id=None,  # to the length limit
            pad_token_id=prompts.pad_id,
            suppress_tokens=no_words,
        )
        ids, stopped = zip(*(prompts.until_stop(row) for row in new_ids.cpu()), strict=True)
        return Captions(list(ids), list(stopped))

    def _caption_logits(self, side: Side, fed: list[Tensor]) -> Tensor:
        student = self.student
        rows = [torch.cat([q, ids[:-1]]) for q, ids in zip(student.caption_prompts(side.region), fed, strict=True)]
        tokens = student.visual_tokens(_vision(student, side), side.region)
        every = student.mllm.logits(student.hidden_states(student.prompts.embed(student.embedding, rows, tokens)))
        parts = [logits[len(logits) - len(ids) :] for logits, ids in zip(every, fed, strict=True)]
        return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)

    def _masks(self, side: Side, step: CycleStep) -> Tensor:
        student, lengths = self.student, step.captions.lengths.tolist()
        rows = []
        for length, key in zip(lengths, step.batch.keys, strict=True):
            question, answer = student.choose_wording(key)
            asked = student.prompts.ask_segment(length, question)
            rows.append(torch.cat([asked, student.prompts.answer_segment(answer)]))
        words = [embeds[:length] for embeds, length in zip(step.text_embeds, lengths, strict=True)]
        tokens = student.visual_tokens(_vision(student, side))
        embedded = student.prompts.embed(student.embedding, rows, tokens, words)
        hidden = student.hidden_states(embedded)
        student.mllm.logits(hidden)  # as a causal language model's forward pass does
        pixels = normalise(side.grounding_pixels).to(student.dtype)
        maps = tuple(student.grounding.sam2.vision_encoder(pixels).fpn_hidden_states)
        return student.grounding(maps, student.seg_prompts(hidden, embedded.ids)).mask_logits


def _vision(model: Any, side: Side) -> Tensor:
    return model.mllm.encode(normalise(side.pixel_values).to(model.dtype))


_NOTHING = Pictures(torch.empty(0), ())

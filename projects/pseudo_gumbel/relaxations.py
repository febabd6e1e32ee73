"""How the student's logits become words: each choice is a class, picked by ``model.words`` in the config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from pseudo_gumbel.gumbel import Words, gumbel_words
from pseudo_gumbel.registry import WORDS


class Relaxation(Protocol):
    """Turns the student's logits [B, T, V] into :class:`Words`; ``teacher_ids`` [B, T] are the captions, padded."""

    def __call__(self, logits: Tensor, teacher_ids: Tensor, generators: Sequence[torch.Generator]) -> Words: ...


@WORDS.register_module()
class StraightThroughGumbel:
    """The method: the words are hard, the gradient is that of the soft distribution.

    Args:
        temperature: tau > 0.
        top_k: candidates a position, 1..V.
    """

    straight_through = True

    def __init__(self, temperature: float = 0.7, top_k: int = 128) -> None:
        self.temperature, self.top_k = temperature, top_k

    def __call__(self, logits: Tensor, teacher_ids: Tensor, generators: Sequence[torch.Generator]) -> Words:
        return gumbel_words(
            logits, generators, temperature=self.temperature, top_k=self.top_k, straight_through=self.straight_through
        )


@WORDS.register_module()
class SoftGumbel(StraightThroughGumbel):
    """Ablation: the mask side reads the soft mixture of words itself."""

    straight_through = False


@WORDS.register_module()
class DetachedGumbel(StraightThroughGumbel):
    """Ablation: the same sampled words, with the gradient to the captioner cut."""

    def __call__(self, logits: Tensor, teacher_ids: Tensor, generators: Sequence[torch.Generator]) -> Words:
        return super().__call__(logits.detach(), teacher_ids, generators)


@WORDS.register_module()
class TeacherWords:
    """Control: plain self-training on the teacher's hard caption; the student's logits are not used."""

    def __call__(self, logits: Tensor, teacher_ids: Tensor, generators: Sequence[torch.Generator]) -> Words:
        ids = teacher_ids.to(logits.device)
        return Words(ids[..., None], torch.ones_like(ids[..., None], dtype=torch.float32), ids)

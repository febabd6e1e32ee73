"""One step of the cycle as a value."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pseudo_gumbel.gumbel import Words, hard_words
from pseudo_gumbel.trial import Trial, WholeWords
from sa2va_native.models.pictures import Pictures
from sa2va_native.models.word_pieces import WordPieces
from sa2va_native.randomness.generators import generators
from sa2va_native.structures import Batch, Side


class Captions(NamedTuple):
    """The teacher's captions of a batch, without stop words."""

    ids: list[Tensor]  #: B id tensors [T_i]; T_i is 0 for an empty caption
    stopped: list[bool]  #: whether a stop word ended the caption, not the length limit

    @property
    def lengths(self) -> Tensor:
        """[B] number of real tokens."""
        return torch.tensor([len(ids) for ids in self.ids])

    @property
    def padded(self) -> Tensor:
        """[B, T] ids, zeros past the end; T >= 1."""
        return pad_sequence([*self.ids, torch.zeros(1, dtype=torch.long)], batch_first=True)[:-1]

    def with_stop(self, rows: Sequence[Tensor], stop_ids: Tensor) -> list[Tensor]:
        """``rows`` [T_i], each followed by the tokens of the stop word [E] where the caption did stop."""
        return [torch.cat([ids, stop_ids]) if stop else ids for ids, stop in zip(rows, self.stopped, strict=True)]


class Further(Protocol):
    """Forward passes beyond the method's own, for estimators and losses that need them.

    The model takes them. Under ZeRO-3 each is a collective: take it on all ranks or on none.
    """

    @property
    def word_pieces(self) -> WordPieces:
        """How tokens make words; takes no pass."""
        ...

    def teacher_logits(self, step: CycleStep) -> Tensor:
        """See :attr:`CycleStep.teacher_logits`."""
        ...

    def base_logits(self, step: CycleStep) -> Tensor:
        """See :attr:`CycleStep.base_logits`."""
        ...

    def teacher_words(self, step: CycleStep, positions: Tensor, first: Tensor, passes: int) -> WholeWords:
        """Whole words from first tokens [B, P, K] at positions [B, P], as the teacher goes on with them."""
        ...

    def reread(self, reader: Any, step: CycleStep, gradient: bool) -> Tensor:
        """Masks [N, h, w] that a reader draws from the words of a step."""
        ...


@dataclass(repr=False, eq=False)
class CycleStep:
    """The values of one cycle step. The model fills it step by step; reading a field before it is set fails.

    B samples; N = B * S readings, the S readings of sample i in the rows i * S .. i * S + S - 1.
    """

    # what the step starts from
    batch: Batch
    seed: int  #: seed of all random draws
    readings: int  #: S, how often each sample is read
    pictures1: Pictures  #: picture 1, encoded once
    pictures2: Pictures  #: picture 2, encoded once; the same value where it is the same picture
    stop_ids: Tensor  #: [E] tokens of the stop word if the estimator or a regularizer rates it, otherwise none
    further: Further  #: for more forward passes than the method's: the model

    captions: Captions = field(init=False)  #: step 1
    corrupted: list[Tensor] = field(init=False)  #: step 2: B id tensors [T_i]
    logits: Tensor = field(init=False)  #: step 3: [B, T, V], with the stop word [B, T + E, V]; arbitrary past the end
    trial: Trial | None = field(init=False, default=None)  #: step 4: which words were tried where, if any were
    words: Words = field(init=False)  #: step 4: N rows
    text_embeds: Tensor = field(init=False)  #: step 5: [N, T, D] in the reader's input embedding space
    mask_logits: Tensor = field(init=False)  #: step 5: [N, h, w] of picture 2
    costs: dict[str, Tensor] = field(init=False)  #: step 6: [N] float32 each, by name
    losses: dict[str, Tensor] = field(init=False)  #: step 6: what is trained on

    @property
    def side1(self) -> Side:
        """The caption side: picture 1 and its region."""
        return self.batch.caption_side

    @property
    def side2(self) -> Side:
        """The mask side; for still pictures the same as side 1."""
        return self.batch.side2

    @property
    def masks(self) -> Tensor:
        """[N, h, w] in {0, 1}: the mask that each reading should lead to."""
        return self.per_reading(self.side2.mask)

    @property
    def others(self) -> Tensor | None:
        """[B, M, h, w] bool: the other objects of picture 2, if the data were asked for them; empty past the last."""
        return self.batch.others

    @property
    def cost(self) -> Tensor:
        """[N] total cost of each reading."""
        return torch.stack(list(self.costs.values())).sum(0)

    @property
    def lengths(self) -> Tensor:
        """[N] number of words that are read in each row."""
        return self.per_reading(self.captions.lengths) if self.words.lengths is None else self.words.lengths

    @property
    def spoken(self) -> Tensor:
        """[B] float32: 0 where the caption is empty, so that the sample weighs nothing; else 1."""
        return (self.captions.lengths > 0).to(self.logits.device, torch.float32)

    @property
    def rated(self) -> Tensor:
        """[B, T or T + E] bool: which positions of the logits belong to the caption (and its stop word)."""
        lengths = self.captions.lengths + torch.tensor(self.captions.stopped) * len(self.stop_ids)
        return (torch.arange(self.logits.shape[1]) < lengths[:, None]).to(self.logits.device)

    @property
    def worded(self) -> Tensor:
        """[B, T or T + E] bool: which positions of the logits hold a word of the caption."""
        positions = torch.arange(self.logits.shape[1])
        return (positions < self.captions.lengths[:, None]).to(self.logits.device)

    @property
    def word_logits(self) -> Tensor:
        """[B, T, V] the logits at the positions of words: what an estimator may turn into words, never a stop word."""
        return self.logits[:, : int(self.captions.lengths.max())]

    @property
    def real_words(self) -> Tensor:
        """[N, T] bool: which positions of :attr:`words` hold a word of the caption; known after step 4."""
        return self.per_reading(self.worded[:, : self.words.ids.shape[1]])

    @cached_property
    def teacher_logits(self) -> Tensor:
        """Logits of the teacher, laid out as ``logits``: it reads its own caption. No gradient; known after step 1.

        Takes a forward pass at first use: use it on all ranks or on none.
        """
        return self.further.teacher_logits(self)

    @cached_property
    def base_logits(self) -> Tensor:
        """Logits of the student without its adapters, on the teacher's caption; laid out as ``logits``. No gradient.

        Takes a forward pass at first use: use it on all ranks or on none.
        """
        return self.further.base_logits(self)

    def rereading(self, reader: Any, *, gradient: bool) -> CycleStep:
        """The step as if the teacher's captions had been read as they are, once each, by another reader.

        Takes a forward pass: use it on all ranks or on none.

        Args:
            reader: of :mod:`pseudo_gumbel.readers`.
            gradient: whether gradient flows through the reading.
        """
        step = copy.copy(self)
        ids = self.captions.padded.to(self.logits.device)
        step.readings, step.words = 1, hard_words(ids, torch.zeros(ids.shape, device=ids.device))
        step.mask_logits = self.further.reread(reader, step, gradient)
        return step

    def generators(self, purpose: str) -> list[torch.Generator]:
        """B generators, one per sample, keyed by seed, step and sample."""
        return generators(self.seed, self.batch.keys, purpose)

    def point_generators(self) -> list[torch.Generator]:
        """N generators, equal for the readings of one sample, so that these are compared on equal draws."""
        return generators(self.seed, [key for key in self.batch.keys for _ in range(self.readings)], "points")

    def per_reading(self, values: Tensor) -> Tensor:
        """Values [B, ...] of the samples for their readings, [N, ...]."""
        return values if self.readings == 1 else values.repeat_interleave(self.readings, 0)

    def detached(self) -> CycleStep:
        """A copy that keeps no graph alive."""
        step = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(step, name, value.detach())
            elif isinstance(value, dict):
                setattr(step, name, {key: one.detach() for key, one in value.items()})
        step.words = self.words.detach()._replace(lengths=self.lengths)
        return step

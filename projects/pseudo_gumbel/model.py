"""The pseudo-Gumbel cycle: mask -> caption -> mask, without a human caption.

One step, as the method has it:

1. an EMA **teacher** captions the masked region of picture 1 (greedy, no gradient),
2. a quarter of the caption is **corrupted**,
3. the **student** rates the words at each caption position,
4. a straight-through top-k **Gumbel-Softmax** makes them differentiable words,
5. which must **lead the student back to the mask** on picture 2,
6. under the **loss** 2.0 BCE + 0.5 dice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Literal, NamedTuple

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import pad_sequence

from pseudo_gumbel.corruption import corrupt
from pseudo_gumbel.gumbel import Words
from pseudo_gumbel.registry import REGULARIZERS, WORDS
from pseudo_gumbel.teacher import EMATeacher
from sa2va_native.errors import ConfigError, did_you_mean
from sa2va_native.models.evaluating import evaluating
from sa2va_native.models.losses import mask_losses
from sa2va_native.models.pictures import Pictures
from sa2va_native.randomness.generators import generators
from sa2va_native.structures import Batch


class _Call(nn.Module):
    """Lets ``functional_call`` run any function of a model with other weights."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[..., Tensor], *args: Any) -> Tensor:
        return function(*args)


class Captions(NamedTuple):
    """The teacher's captions of a batch, without stop words."""

    ids: list[Tensor]  #: B id tensors [T_i]; T_i may be 0 when the teacher had nothing to say
    stopped: list[bool]  #: whether a stop word ended the caption, or the length limit did

    @property
    def lengths(self) -> Tensor:
        """[B] number of real tokens."""
        return torch.tensor([len(ids) for ids in self.ids])

    @property
    def padded(self) -> Tensor:
        """[B, T] ids, zeros past the end; T >= 1."""
        return pad_sequence([*self.ids, torch.zeros(1, dtype=torch.long)], batch_first=True)[:-1]


@MODELS.register_module()
class PseudoGumbel(BaseModel):
    """Sa2VA that also learns from masks without captions.

    A ``cycle`` batch takes the six steps; ``refer`` and ``caption`` batches are supervised as in Sa2VA.

    Args:
        sa2va: config of :class:`sa2va_native.models.Sa2VA`, the student.
        words: config of a class of :mod:`pseudo_gumbel.relaxations`.
        mask_ratio: share of caption tokens that is corrupted, 0..1.
        mask_side: whose weights turn the words into a mask. ``"student"``: the method. ``"teacher"``: the teacher's,
            frozen, so that gradient reaches the captioner alone and the mask side cannot learn its wrong words.
        regularizers: configs of classes of :mod:`pseudo_gumbel.regularizers`; none by default.

    Raises:
        ConfigError: ``mask_ratio`` outside 0..1, or a ``top_k`` above the vocabulary.
    """

    def __init__(
        self,
        sa2va: dict[str, Any],
        words: dict[str, Any],
        mask_ratio: float = 0.25,
        mask_side: Literal["student", "teacher"] = "student",
        regularizers: Sequence[dict[str, Any]] = (),
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        # copies from pinned memory while the host goes on
        super().__init__(data_preprocessor or dict(type="BaseDataPreprocessor", non_blocking=True))
        if not 0 <= mask_ratio <= 1:
            raise ConfigError(f"mask_ratio={mask_ratio}: a share, 0..1; the method uses 0.25")
        if mask_side not in ("student", "teacher"):
            raise ConfigError(f"mask_side={mask_side!r} is unknown. {did_you_mean(mask_side, ('student', 'teacher'))}")
        self.student = MODELS.build(sa2va)
        self.words = WORDS.build(words)
        self.mask_ratio = mask_ratio
        self.mask_side = mask_side
        self.regularizers = [REGULARIZERS.build(config) for config in regularizers]
        #: Set by EMATeacherHook; None: the student captions for itself.
        self.teacher: EMATeacher | None = None
        if (top_k := getattr(self.words, "top_k", 1)) > (size := self.student.embedding.num_embeddings):
            raise ConfigError(f"words.top_k={top_k} with a vocabulary of {size}: choose top_k <= {size}")

        # What monitoring hooks read; see GradientFlowHook and CaptionPanelHook.
        self.record_next_step = False
        self.last_step: dict[str, Any] | None = None
        self.text_embeds_grad_norm: float | None = None

    @property
    def seed(self) -> int:
        """Of all random draws; TrainLoop puts in the run's."""
        return self.student.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self.student.seed = seed

    def init_weights(self) -> None:
        """Nothing: the student comes with its weights."""

    def forward(self, batch: Batch, mode: str = "tensor") -> Any:
        """MMEngine's entry; only the loss of a ``cycle`` batch differs from the base model's."""
        if mode == "loss" and batch.kind == "cycle":
            return self.cycle_loss(batch)
        return self.student(batch, mode)

    def cycle_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of one cycle step on a batch of masks."""
        side1, side2 = batch.caption_side, batch.mask_side or batch.caption_side
        # One look does for still pictures, unless ranks run each tower together and others may have a second frame.
        one_look = side2 is side1 and not self.student.is_partitioned
        pictures1 = self.student.encode_pictures(side1, grounding=one_look)
        pictures2 = pictures1 if one_look else self.student.encode_pictures(side2)

        captions = self.teacher_captions(pictures1, side1.region)
        corrupted = self.corrupt(captions, batch)
        logits = self.student_logits(pictures1, side1.region, captions, corrupted)
        words = self.words(logits, captions.padded, self.generators(batch, "gumbel"))
        text_embeds = self.embed_words(words)
        masks_from_text = self.masks_from_text if self.mask_side == "student" else self.teacher_masks_from_text
        mask_logits = masks_from_text(pictures2, text_embeds, captions.lengths, batch)

        losses = self.mask_losses(mask_logits, side2.mask, captions, batch)
        for regularizer in self.regularizers:
            losses[regularizer.name] = regularizer(logits, captions.ids, corrupted)
        self._record(batch, captions, logits, words, text_embeds, mask_logits)
        return {**losses, "silent_captions": (captions.lengths == 0).float().mean()}

    # -- the steps ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def teacher_captions(self, pictures: Pictures, region: Tensor) -> Captions:
        """Step 1: greedy captions of regions [B, g, g] under the teacher's weights."""
        with self.teacher.applied_to(self) if self.teacher else nullcontext():
            ids, stopped = zip(*self.student.caption(pictures, region), strict=True)
        return Captions(list(ids), list(stopped))

    def corrupt(self, captions: Captions, batch: Batch) -> list[Tensor]:
        """Step 2: captions with a share ``mask_ratio`` of random words."""
        return corrupt(captions.ids, self.mask_ratio, self.student.prompts.word_ids, self.generators(batch, "corrupt"))

    def student_logits(
        self, pictures: Pictures, region: Tensor, captions: Captions, corrupted: Sequence[Tensor]
    ) -> Tensor:
        """Step 3: logits [B, T, V] at the caption positions, teacher-forced on the corrupted caption."""
        return self.student.caption_logits(pictures, region, corrupted, captions.ids)[0]

    def embed_words(self, words: Words) -> Tensor:
        """Step 4, end: words as points [B, T, D] of the input embedding space."""
        rows = self.student.embedding(words.candidates)
        return torch.einsum("btk,btkd->btd", words.weights.to(rows.dtype), rows)

    def masks_from_text(self, pictures: Pictures, text_embeds: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
        """Step 5: mask logits [B, h, w] of picture 2; the words stand where an expression would, nothing after them."""
        student = self.student
        words = [embeds[:length] for embeds, length in zip(text_embeds, lengths.tolist(), strict=True)]
        rows = []
        for length, key in zip(lengths.tolist(), batch.keys, strict=True):
            question, answer = student.choose_wording(key)
            asked, answered = student.prompts.ask_segment(length, question), student.prompts.answer_segment(answer)
            rows.append(torch.cat([asked, answered]))
        embedded = student.prompts.embed(student.embedding, rows, student.visual_tokens(pictures.vision), words)
        return student.mask_from(student.hidden_states(embedded), embedded.ids, pictures).mask_logits

    def teacher_masks_from_text(self, *args: Any) -> Tensor:
        """Step 5 with the teacher's weights as constants; gradient flows through them, to the words only."""
        tensors = self.teacher.weights() if self.teacher else dict(self.named_parameters())
        weights = {f"model.{name}": tensor.detach() for name, tensor in tensors.items()}
        # Evaluating, as when it captions: no dropout, and no layers that the backward pass would compute again when
        # these weights are gone.
        with evaluating(self):
            return functional_call(_Call(self), weights, (self.masks_from_text, *args))

    def mask_losses(self, mask_logits: Tensor, gt_masks: Tensor, captions: Captions, batch: Batch) -> dict[str, Tensor]:
        """Step 6: BCE and dice on uncertain points; a sample whose caption is empty weighs nothing."""
        spoken = (captions.lengths > 0).to(mask_logits)
        points = self.generators(batch, "points")
        return mask_losses(mask_logits, gt_masks, points, sample_weights=spoken, **self.student.mask_loss)

    def generators(self, batch: Batch, purpose: str) -> list[torch.Generator]:
        """One generator a sample, keyed by seed, step and sample."""
        return generators(self.seed, batch.keys, purpose)

    # -- monitoring --------------------------------------------------------------------------------------------

    def gradient_groups(self) -> dict[str, list[nn.Parameter]]:
        """The trained parameters by part."""
        return self.student.gradient_groups()

    def _record(
        self, batch: Batch, captions: Captions, logits: Tensor, words: Words, text_embeds: Tensor, mask_logits: Tensor
    ) -> None:
        if text_embeds.requires_grad:
            text_embeds.register_hook(self._note_text_embeds_gradient)
        if not self.record_next_step:
            return
        self.record_next_step = False
        side1, side2 = batch.caption_side, batch.mask_side or batch.caption_side
        decode, lengths = self.student.prompts.decode, captions.lengths.tolist()
        real = torch.arange(logits.shape[1]) < captions.lengths[:, None]
        agrees = logits.argmax(-1).cpu() == captions.padded[:, : logits.shape[1]]
        student_captions = [decode(ids[:n]) for ids, n in zip(words.ids.cpu(), lengths, strict=True)]
        teacher_captions = [decode(ids) for ids in captions.ids]
        self.last_step = dict(
            picture=side1.pixel_values[0].cpu(),
            mask_picture=side2.pixel_values[0].cpu(),
            region_mask=side1.mask[0].detach().float().cpu(),
            teacher_caption=teacher_captions[0],
            student_caption=student_captions[0],
            pred_mask=mask_logits[0].detach().float().sigmoid().cpu(),
            gt_mask=side2.mask[0].detach().float().cpu(),
            teacher_captions=teacher_captions,
            student_captions=student_captions,
            caption_lengths=lengths,
            stopped=captions.stopped,
            agreement=float(agrees[real].float().mean()) if real.any() else 0.0,
        )

    def _note_text_embeds_gradient(self, gradient: Tensor) -> None:
        self.text_embeds_grad_norm = float(gradient.detach().float().norm())

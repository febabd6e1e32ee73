"""The pseudo-Gumbel cycle: mask -> caption -> mask, without a human caption.

One step, as the method has it:

1. an EMA **teacher** captions the masked region of picture 1 (greedy, no gradient),
2. a quarter of the caption is **corrupted**,
3. the **student** rates the words at each caption position,
4. a straight-through top-k **Gumbel-Softmax** makes them differentiable words,
5. which must **lead the student back to the mask** on picture 2,
6. under the **loss** 2.0 BCE + 0.5 dice.

The captioner of step 1, step 4, the reader of step 5, the cost of step 6 and what is learnt from it are classes that
the config picks; :class:`pseudo_gumbel.step.CycleStep` is what passes between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from pseudo_gumbel.captioners.teacher_captioner import TeacherCaptioner
from pseudo_gumbel.corruption import corrupt
from pseudo_gumbel.estimators.estimator import Estimator
from pseudo_gumbel.readers.reader import Reader, Reading
from pseudo_gumbel.registry import CAPTIONERS, COSTS, ESTIMATORS, READERS, REGULARIZERS
from pseudo_gumbel.regularizers import Regularizer
from pseudo_gumbel.step import Captions, CycleStep
from pseudo_gumbel.student import Student
from pseudo_gumbel.teacher import EMATeacher
from pseudo_gumbel.trial import WholeWords
from pseudo_gumbel.whole_words import whole_words
from sa2va_native.errors import ConfigError
from sa2va_native.models.adapters import lora_off
from sa2va_native.models.evaluating import evaluating
from sa2va_native.models.pictures import Pictures
from sa2va_native.models.prompts import END
from sa2va_native.models.word_pieces import WordPieces
from sa2va_native.randomness.generators import generators
from sa2va_native.structures import Batch


@MODELS.register_module()
class PseudoGumbel(BaseModel):
    """Sa2VA that also learns from masks without captions.

    A ``cycle`` batch takes the six steps; ``refer`` and ``caption`` batches are supervised as in Sa2VA.

    Args:
        sa2va: config of :class:`sa2va_native.models.Sa2VA`, the student.
        estimator: config of a class of :mod:`pseudo_gumbel.estimators`: which words are read, and what is learnt.
        mask_ratio: share of caption tokens that is corrupted, 0..1.
        reader: config of a class of :mod:`pseudo_gumbel.readers`: whose weights turn the words into a mask. None:
            StudentReader, the method.
        cost: config of a class of :mod:`pseudo_gumbel.costs`: what that mask costs. None: UncertainPointCost, the
            method, with the student's ``mask_loss``.
        regularizers: configs of classes of :mod:`pseudo_gumbel.regularizers`; none by default.
        captioner: config of a class of :mod:`pseudo_gumbel.captioners`: how the teacher captions. None:
            TeacherCaptioner, the method.
        supervised_weight: factor of all losses of ``refer`` and ``caption`` batches, >= 0.

    Raises:
        ConfigError: an option outside its range, an estimator that does not fit the vocabulary, a regularizer that
            does not fit the student, or two of one name.
    """

    def __init__(
        self,
        sa2va: dict[str, Any],
        estimator: dict[str, Any],
        mask_ratio: float = 0.25,
        reader: dict[str, Any] | None = None,
        cost: dict[str, Any] | None = None,
        regularizers: Sequence[dict[str, Any]] = (),
        supervised_weight: float = 1.0,
        captioner: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        # copies from pinned memory while the host continues
        super().__init__(data_preprocessor or dict(type="BaseDataPreprocessor", non_blocking=True))
        if not 0 <= mask_ratio <= 1:
            raise ConfigError(f"mask_ratio={mask_ratio}: a share, 0..1; the method uses 0.25")
        if not supervised_weight >= 0:
            raise ConfigError(f"supervised_weight={supervised_weight}: a factor, 0 or more; the method uses 1")
        self.student: Student = MODELS.build(sa2va)
        self.estimator: Estimator = ESTIMATORS.build(estimator)
        self.estimator.check(self.student.embedding.num_embeddings)
        self.captioner: TeacherCaptioner = CAPTIONERS.build(captioner or dict(type="TeacherCaptioner"))
        self.reader: Reader = READERS.build(reader or dict(type="StudentReader"))
        self.cost = COSTS.build(cost or dict(type="UncertainPointCost", **self.student.mask_loss))
        self.mask_ratio = mask_ratio
        self.regularizers: list[Regularizer] = [REGULARIZERS.build(config) for config in regularizers]
        _require_different_names(self.regularizers)
        for regularizer in self.regularizers:
            regularizer.check(self.student)
        self.supervised_weight = supervised_weight
        #: Set by EMATeacherHook; None: the student captions for itself.
        self.teacher: EMATeacher | None = None

        # What monitoring hooks read; see GradientFlowHook and CaptionPanelHook.
        self.record_next_step = False
        self.last_step: CycleStep | None = None
        self.text_embeds_grad_norm: Tensor | None = None
        #: Called with every step on all ranks, under no_grad; see RewardEscapeHook.
        self.watchers: list[Callable[[CycleStep], None]] = []

    @property
    def seed(self) -> int:
        """Seed of all random draws; TrainLoop sets it to the run's."""
        return self.student.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self.student.seed = seed

    def init_weights(self) -> None:
        """Does nothing: the student already has its weights."""

    def forward(self, batch: Batch, mode: str = "tensor") -> Any:
        """MMEngine's entry; only the loss of a ``cycle`` batch differs from the base model's."""
        if mode != "loss":
            return self.student(batch, mode)
        return self.cycle_loss(batch) if batch.kind == "cycle" else self.supervised_loss(batch)

    def supervised_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The base model's losses of a batch with human text."""
        return {name: self.supervised_weight * loss for name, loss in self.student(batch, "loss").items()}

    def cycle_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of one cycle step on a batch of masks."""
        step = self.begin(batch)
        step.captions = self.teacher_captions(step.pictures1, step.side1.region)  # 1
        step.corrupted = self.corrupt(step.captions, batch)  # 2
        step.logits = self.student_logits(step)  # 3
        step.words = self.estimator.words(step)  # 4
        step.text_embeds, step.mask_logits = self.read(step)  # 5
        step.costs = self.mask_costs(step)  # 6
        step.losses = self.estimator.losses(step)

        for regularizer in self.regularizers:
            step.losses[regularizer.name] = regularizer(step)
        self._watch(step)
        return {**step.losses, "silent_captions": (1 - step.spoken).mean()}

    # -- the steps ---------------------------------------------------------------------------------------------

    def begin(self, batch: Batch) -> CycleStep:
        """Before step 1: the frozen towers run, once per picture."""
        side1, side2 = batch.caption_side, batch.side2
        # Still pictures are encoded once, unless ranks run each tower together and others may have a second frame.
        one_look = side2 is side1 and not self.student.is_partitioned
        pictures1 = self.student.encode_pictures(side1, grounding=one_look, looks=batch.looks)
        pictures2 = pictures1 if one_look else self.student.encode_pictures(side2, looks=batch.looks)
        rates_stop = self.estimator.rates_stop or any(one.rates_stop for one in self.regularizers)
        stop_ids = torch.tensor(self.student.prompts.encode(END) if rates_stop else [], dtype=torch.long)
        return CycleStep(batch, self.seed, self.estimator.readings, pictures1, pictures2, stop_ids, further=self)

    def teacher_captions(self, pictures: Pictures, region: Tensor) -> Captions:
        """Step 1: greedy captions of regions [B, g, g] under the teacher's weights."""
        return self.captioner(self, pictures, region)

    def corrupt(self, captions: Captions, batch: Batch) -> list[Tensor]:
        """Step 2: captions with a share ``mask_ratio`` of random words."""
        return corrupt(captions.ids, self.mask_ratio, self.student.prompts.word_ids, self.generators(batch, "corrupt"))

    def student_logits(self, step: CycleStep) -> Tensor:
        """Step 3: logits [B, T, V] at the caption positions, teacher-forced on the corrupted caption."""
        return self._caption_logits(step, step.corrupted)

    @torch.no_grad()
    def teacher_logits(self, step: CycleStep) -> Tensor:
        """The teacher's logits at the same positions, on its own caption; for estimators that use them."""
        with self.teacher.applied_to(self) if self.teacher else nullcontext(), evaluating(self):
            return self._caption_logits(step, step.captions.ids)

    @property
    def word_pieces(self) -> WordPieces:
        """How the student's tokens make words; for estimators that try words."""
        return self.student.prompts.word_pieces

    @torch.no_grad()
    def teacher_words(self, step: CycleStep, positions: Tensor, first: Tensor, passes: int) -> WholeWords:
        """Words that begin with other tokens, as the teacher goes on with them; for estimators that try them."""
        with self.teacher.applied_to(self) if self.teacher else nullcontext(), evaluating(self):
            return whole_words(self.student, step, positions, first, passes)

    @torch.no_grad()
    def base_logits(self, step: CycleStep) -> Tensor:
        """The student's logits at the same positions on the teacher's caption, with its adapters off."""
        with lora_off(self), evaluating(self):
            return self._caption_logits(step, step.captions.ids)

    def _caption_logits(self, step: CycleStep, fed: Sequence[Tensor]) -> Tensor:
        fed, targets = (step.captions.with_stop(rows, step.stop_ids) for rows in (fed, step.captions.ids))
        return self.student.caption_logits(step.pictures1, step.side1.region, fed, targets)[0]

    def read(self, step: CycleStep) -> Reading:
        """Step 5: the words, as points of the embedding space, lead to masks of picture 2."""
        return self.reader(self, step, step.words, gradient=self.estimator.reads_with_gradient)

    def reread(self, reader: Reader, step: CycleStep, gradient: bool) -> Tensor:
        """Masks [N, h, w] that another reader draws from the step's words; for losses that read once more."""
        return reader(self, step, step.words, gradient=gradient).mask_logits

    def mask_costs(self, step: CycleStep) -> dict[str, Tensor]:
        """Step 6: what each of the N masks costs; the readings of a sample share its draws."""
        return self.cost(step)

    def generators(self, batch: Batch, purpose: str) -> list[torch.Generator]:
        """One generator a sample, keyed by seed, step and sample."""
        return generators(self.seed, batch.keys, purpose)

    # -- monitoring --------------------------------------------------------------------------------------------

    def gradient_groups(self) -> dict[str, list[nn.Parameter]]:
        """The trained parameters by part."""
        return self.student.gradient_groups()

    def groups_beyond(self, kind: str) -> set[str]:
        """The groups that a batch may leave without gradient by design, and not because a chain is cut.

        Regularizers do not count: a filter such as that of ReferBack may keep no caption.
        """
        if kind != "cycle" and not self.supervised_weight:
            return set(self.gradient_groups())
        reading = self.estimator.reads_with_gradient and self.reader.learns
        draws = kind == "refer" or (kind == "cycle" and reading)
        return set() if draws else self.student.mask_groups

    def _watch(self, step: CycleStep) -> None:
        if step.text_embeds.requires_grad:
            step.text_embeds.register_hook(self._note_text_embeds_gradient)
        if self.record_next_step:
            self.record_next_step, self.last_step = False, step.detached()
        with torch.no_grad():
            for watch in self.watchers:
                watch(step)

    def _note_text_embeds_gradient(self, gradient: Tensor) -> None:
        self.text_embeds_grad_norm = gradient.detach().float().norm()  # a tensor: a number would wait for the GPU


def _require_different_names(regularizers: Sequence[Regularizer]) -> None:
    names = [one.name for one in regularizers]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"model.regularizers has two of {name}: one would hide the other. Add their weights in one."
            )

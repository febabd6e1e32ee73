"""Shows the cycle while it trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from PIL import Image
from torch import Tensor

from pseudo_gumbel.caption_stats import caption_statistics
from pseudo_gumbel.costs.iou import iou
from pseudo_gumbel.estimators.estimator import TriedWords
from pseudo_gumbel.panel import Trial, draw_panel
from pseudo_gumbel.step import CycleStep
from pseudo_gumbel.trial_tiles import TriedWord
from sa2va_native.engine.run.optimizer_steps import accumulation_steps, just_stepped, optimizer_steps
from sa2va_native.parallel.unwrap import unwrap_model


class Said(NamedTuple):
    """The captions of a step, as text."""

    teacher: list[str]  #: B captions
    student: list[str]  #: B captions that were read; of several readings the first
    agreement: float  #: share of caption tokens where the student's likeliest token is the teacher's, 0..1


def said(step: CycleStep, decode: Callable[[Tensor], str]) -> Said:
    """Decodes the captions of a step."""
    captions, words = step.captions, step.words.ids[:: step.readings].cpu()
    spoken = [ids[:length] for ids, length in zip(words, step.lengths[:: step.readings].tolist(), strict=True)]
    positions = step.worded.cpu()
    teacher = torch.cat([ids.cpu() for ids in captions.ids])
    agrees = step.logits.argmax(-1).cpu()[positions] == teacher
    return Said(
        [decode(ids) for ids in captions.ids],
        [decode(ids) for ids in spoken],
        float(agrees.float().mean()) if len(agrees) else 0.0,
    )


@HOOKS.register_module()
class CaptionPanelHook(Hook):
    """Draws the first sample of the next cycle batch every ``interval`` optimizer steps, on the main rank.

    Under an estimator that tries words (:meth:`Estimator.tried`) the panel shows them, and the student's likeliest
    words as its caption.

    Writes ``panels/step_000123.png`` in the work dir and the same picture to the visualizer as step 123, and logs
    ``caption/length`` (tokens), ``caption/stop_rate``, ``caption/distinct_1``, ``caption/distinct_2`` and
    ``caption/agreement`` over that batch.

    Args:
        interval: optimizer steps between two panels; the first is drawn at the first cycle batch.
    """

    priority = "NORMAL"

    def __init__(self, interval: int = 100) -> None:
        self.interval = interval

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        # The request stays open during batches of human expressions, until a cycle batch serves it.
        if is_main_process() and runner.iter % (self.interval * accumulation_steps(runner)) == 0:
            unwrap_model(runner.model).record_next_step = True  # type: ignore[assignment]

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        model: Any = unwrap_model(runner.model)
        step: CycleStep | None = getattr(model, "last_step", None)
        if step is None or not is_main_process():
            return
        model.last_step = None
        words = said(step, model.student.prompts.decode)
        lengths, stopped = step.captions.lengths.tolist(), step.captions.stopped
        for name, value in caption_statistics(words.teacher, lengths, stopped, words.agreement).items():
            runner.message_hub.update_scalar(f"train/caption/{name}", value)
        number = optimizer_steps(runner) + (not just_stepped(runner))
        if trials := trials_of(step, model):  # what was read are the teacher's words
            words = words._replace(student=likeliest(step, model.student.prompts.decode))
        panel = self.draw(step, words, number, trials)
        path = Path(runner.work_dir) / "panels" / f"step_{number:06d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(panel).save(path)
        runner.visualizer.add_image("panel", panel, step=number)

    def draw(self, step: CycleStep, words: Said, number: int, trials: Sequence[Trial] = ()) -> np.ndarray:
        """The panel of a step's first sample as (height, width, 3) uint8; of several readings the first."""
        image, mask_image = (side.pixel_values[0].cpu().permute(1, 2, 0).numpy() for side in (step.side1, step.side2))
        masks = step.side1.mask[0], step.mask_logits[0].float().sigmoid(), step.side2.mask[0]
        region, pred, true = (mask.float().cpu().numpy() for mask in masks)
        found = float(iou(step.mask_logits[:1], step.side2.mask[:1]))
        footer = f"step {number}   IoU {found:.2f}   caption agreement {words.agreement:.2f}"
        captions = words.teacher[0], words.student[0]
        return draw_panel(image, region, mask_image, pred, true, *captions, footer, trials)


def likeliest(step: CycleStep, decode: Callable[[Tensor], str]) -> list[str]:
    """B captions of the student's likeliest words."""
    ids = step.logits.argmax(-1).cpu()
    return [decode(row[:length]) for row, length in zip(ids, step.captions.lengths.tolist(), strict=True)]


def trials_of(step: CycleStep, model: Any) -> list[Trial]:
    """The words that were tried for a step's first sample."""
    decode, ids = model.student.prompts.decode, step.captions.ids[0]
    return [
        Trial(_place(ids, tried, decode), _tried_words(step, tried, decode)) for tried in model.estimator.tried(step, 0)
    ]


def _tried_words(step: CycleStep, tried: TriedWords, decode: Callable[[Tensor], str]) -> list[TriedWord]:
    texts = [decode(ids).strip() for ids in tried.words]
    logits = step.mask_logits[tried.rows].float()
    ious = iou(logits, step.side2.mask[:1].expand_as(logits))
    figures = (one.tolist() for one in (tried.prior, tried.posterior, step.cost[tried.rows], ious))
    return list(map(TriedWord, texts, *figures, logits.sigmoid().cpu().numpy()))


def _place(ids: Tensor, tried: TriedWords, decode: Callable[[Tensor], str]) -> tuple[int, int]:
    """Characters of the decoded caption that belong to the tried tokens."""
    begin, end = (len(decode(ids[:stop])) for stop in (tried.start, tried.stop))
    return begin, end

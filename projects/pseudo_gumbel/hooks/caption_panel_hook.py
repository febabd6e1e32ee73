"""Shows the cycle while it trains."""

from __future__ import annotations

from collections.abc import Callable
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
from pseudo_gumbel.panel import draw_panel
from pseudo_gumbel.step import CycleStep
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
    spoken = [ids[:length] for ids, length in zip(words, captions.lengths.tolist(), strict=True)]
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

    Writes ``panels/step_000123.png`` in the work dir and the same picture to the visualizer, and logs
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
        panel = self.draw(step, words, number)
        path = Path(runner.work_dir) / "panels" / f"step_{number:06d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(panel).save(path)
        runner.visualizer.add_image("panel", panel, step=runner.iter + 1)

    def draw(self, step: CycleStep, words: Said, number: int) -> np.ndarray:
        """The panel of a step's first sample as (height, width, 3) uint8; of several readings the first."""
        image, mask_image = (side.pixel_values[0].cpu().permute(1, 2, 0).numpy() for side in (step.side1, step.side2))
        masks = step.side1.mask[0], step.mask_logits[0].float().sigmoid(), step.side2.mask[0]
        region, pred, true = (mask.float().cpu().numpy() for mask in masks)
        union = ((pred > 0.5) | (true > 0.5)).sum()
        iou = ((pred > 0.5) & (true > 0.5)).sum() / union if union else 1.0
        footer = f"step {number}   IoU {iou:.2f}   caption agreement {words.agreement:.2f}"
        return draw_panel(image, region, mask_image, pred, true, words.teacher[0], words.student[0], footer)

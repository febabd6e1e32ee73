"""Lets one look at the cycle while it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from PIL import Image

from pseudo_gumbel.caption_stats import caption_statistics
from pseudo_gumbel.panel import draw_panel
from sa2va_native.engine.run.before_step import accumulation_steps, just_stepped, optimizer_steps
from sa2va_native.parallel.unwrap import unwrap_model


@HOOKS.register_module()
class CaptionPanelHook(Hook):
    """Every ``interval`` optimizer steps draws the next cycle batch's first sample, on the main rank.

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
        # Batches of human expressions leave the request standing until a cycle batch serves it.
        if is_main_process() and runner.iter % (self.interval * accumulation_steps(runner)) == 0:
            unwrap_model(runner.model).record_next_step = True  # type: ignore[assignment]

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        model: Any = unwrap_model(runner.model)
        step = getattr(model, "last_step", None)
        if step is None or not is_main_process():
            return
        model.last_step = None
        for name, value in caption_statistics(
            step["teacher_captions"], step["caption_lengths"], step["stopped"], step["agreement"]
        ).items():
            runner.message_hub.update_scalar(f"train/caption/{name}", value)
        number = optimizer_steps(runner) + (not just_stepped(runner))
        panel = self.draw(step, number)
        path = Path(runner.work_dir) / "panels" / f"step_{number:06d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(panel).save(path)
        runner.visualizer.add_image("panel", panel, step=runner.iter + 1)

    def draw(self, step: dict[str, Any], number: int) -> np.ndarray:
        """The panel of one recorded step as (height, width, 3) uint8."""
        image, mask_image = (step[name].permute(1, 2, 0).numpy() for name in ("picture", "mask_picture"))
        masks = [_array(step[key]) for key in ("region_mask", "pred_mask", "gt_mask")]
        region, pred, true = masks
        union = ((pred > 0.5) | (true > 0.5)).sum()
        iou = ((pred > 0.5) & (true > 0.5)).sum() / union if union else 1.0
        footer = f"step {number}   IoU {iou:.2f}   caption agreement {float(step['agreement']):.2f}"
        return draw_panel(
            image, region, mask_image, pred, true, step["teacher_caption"], step["student_caption"], footer
        )


def _array(mask: Any) -> np.ndarray:
    return torch.as_tensor(mask).detach().float().cpu().numpy()

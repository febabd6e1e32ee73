"""The panel hook asks the model for one recorded step and shows it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from PIL import Image
from torch import nn

from pseudo_gumbel.hooks.caption_panel_hook import CaptionPanelHook


class Wrapper:
    """The parts of MMEngine's optimizer wrapper that count."""

    _accumulative_counts = 2
    _max_counts = -1
    inner_count = 0

    def should_update(self) -> bool:
        return self.inner_count % 2 == 0


def make_runner(work_dir: Path) -> Any:
    images: list[tuple[str, np.ndarray, int]] = []
    model = nn.Linear(1, 1)
    model.last_step = None  # type: ignore[assignment]
    model.record_next_step = False  # type: ignore[assignment]
    return SimpleNamespace(
        model=model,
        optim_wrapper=Wrapper(),
        iter=0,
        work_dir=str(work_dir),
        message_hub=MessageHub.get_instance(f"panel_{work_dir.name}"),
        images=images,
        visualizer=SimpleNamespace(add_image=lambda name, image, step: images.append((name, image, step))),
    )


def record() -> dict[str, Any]:
    mask = torch.zeros(16, 16)
    mask[4:12, 4:12] = 1
    return {
        "picture": torch.full((3, 32, 32), 90, dtype=torch.uint8),
        "mask_picture": torch.full((3, 32, 32), 200, dtype=torch.uint8),
        "region_mask": mask,
        "pred_mask": mask * 0.9,
        "gt_mask": mask,
        "teacher_caption": "a dog",
        "student_caption": "a cat",
        "teacher_captions": ["a dog", "a cat"],
        "student_captions": ["a cat", "a cat"],
        "caption_lengths": [2, 4],
        "stopped": [True, False],
        "agreement": 0.5,
    }


def run(hook: CaptionPanelHook, runner: Any, kinds: list[str]) -> list[int]:
    """Feeds micro-batches; returns the iterations that the model recorded."""
    recorded = []
    for kind in kinds:
        hook.before_train_iter(runner, runner.iter)
        if runner.model.record_next_step and kind == "cycle":
            runner.model.record_next_step = False
            runner.model.last_step = record()
            recorded.append(runner.iter)
        runner.optim_wrapper.inner_count += 1
        hook.after_train_iter(runner, runner.iter)
        runner.iter += 1
    return recorded


def test_one_panel_per_interval_of_optimizer_steps(tmp_path: Path) -> None:
    """Red for a panel every micro-batch, or a request lost on a batch of human expressions."""
    runner = make_runner(tmp_path)
    assert run(CaptionPanelHook(interval=2), runner, ["refer", "cycle"] * 4) == [1, 5]
    assert sorted(path.name for path in (tmp_path / "panels").iterdir()) == ["step_000001.png", "step_000003.png"]
    assert [step for _, _, step in runner.images] == [2, 6]
    saved = np.asarray(Image.open(tmp_path / "panels" / "step_000001.png"))
    assert np.array_equal(saved, runner.images[0][1])


def test_scalars_are_logged(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    run(CaptionPanelHook(interval=1), runner, ["cycle"])
    logged = {
        name.removeprefix("train/caption/"): buffer.current() for name, buffer in runner.message_hub.log_scalars.items()
    }
    assert logged == pytest.approx(
        {"length": 3, "stop_rate": 0.5, "distinct_1": 0.75, "distinct_2": 1.0, "agreement": 0.5}
    )


def test_pictures_are_shown_in_their_colours(tmp_path: Path) -> None:
    """Red when a picture is shown as floats, whose values would wrap round."""
    hook = CaptionPanelHook()
    panel = hook.draw(record(), 1)
    assert (panel == 90).all(-1).any()
    assert (panel == 200).all(-1).any()

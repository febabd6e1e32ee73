"""The panel hook asks the model for one recorded step and shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from PIL import Image
from torch import nn

from pseudo_gumbel.gumbel import hard_words
from pseudo_gumbel.hooks.caption_panel_hook import CaptionPanelHook, said
from pseudo_gumbel.step import Captions, CycleStep
from sa2va_native.structures import Side
from tests.tiny import cycle_step


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
    model.student = SimpleNamespace(prompts=SimpleNamespace(decode=decode))  # type: ignore[assignment]
    return SimpleNamespace(
        model=model,
        optim_wrapper=Wrapper(),
        iter=0,
        work_dir=str(work_dir),
        message_hub=MessageHub.get_instance(f"panel_{work_dir.name}"),
        images=images,
        visualizer=SimpleNamespace(add_image=lambda name, image, step: images.append((name, image, step))),
    )


VOCABULARY = ["a", "dog", "cat"]
A, DOG, CAT = range(3)


def decode(ids: torch.Tensor) -> str:
    return " ".join(VOCABULARY[i] for i in ids)


def record(readings: int = 1, stop: Sequence[int] = ()) -> CycleStep:
    """The teacher says "a dog" and "a cat a cat"; the student would say "a cat" and "a cat dog dog", and reads that."""
    mask = torch.zeros(2, 16, 16)
    mask[:, 4:12, 4:12] = 1
    side1, side2 = (
        Side(torch.full((2, 3, 32, 32), grey, dtype=torch.uint8), torch.empty(0), torch.empty(0), mask)
        for grey in (90, 200)
    )
    captions = Captions([torch.tensor([A, DOG]), torch.tensor([A, CAT, A, CAT])], [True, False])
    ids = torch.tensor([[A, CAT, A, A], [A, CAT, DOG, DOG]])
    logits = 9.0 * torch.nn.functional.one_hot(ids, 3)
    words = hard_words(ids.repeat_interleave(readings, 0), torch.zeros(2 * readings, 4))
    mask_logits = (4 * mask - 2).repeat_interleave(readings, 0)
    logits = torch.nn.functional.pad(logits, (0, 0, 0, len(stop)))
    step = cycle_step(logits, captions, stop, readings, words=words, mask_logits=mask_logits)
    step.batch = step.batch._replace(caption_side=side1, mask_side=side2)
    return step


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
        {"length": 3, "stop_rate": 0.5, "distinct_1": 0.5, "distinct_2": 0.75, "agreement": 0.5}
    )


@pytest.mark.parametrize("stop", [[], [DOG, DOG]])
@pytest.mark.parametrize("readings", [1, 3])
def test_what_was_said_is_decoded_without_padding(readings: int, stop: list[int]) -> None:
    """Red when padding or a stop word counts or is shown, or a reading of sample 1 passes for sample 2's."""
    assert said(record(readings, stop), decode) == (["a dog", "a cat a cat"], ["a cat", "a cat dog dog"], 0.5)


def test_a_batch_that_says_nothing_agrees_in_nothing() -> None:
    step = record()
    nothing = cycle_step(step.logits, Captions([torch.tensor([]).long()] * 2, [True, True]), words=step.words)
    assert said(nothing, decode) == (["", ""], ["", ""], 0.0)


def test_pictures_are_shown_in_their_colours(tmp_path: Path) -> None:
    """Red when a picture is shown as floats, whose values would wrap round."""
    hook = CaptionPanelHook()
    panel = hook.draw(record(), said(record(), decode), 1)
    assert (panel == 90).all(-1).any()
    assert (panel == 200).all(-1).any()

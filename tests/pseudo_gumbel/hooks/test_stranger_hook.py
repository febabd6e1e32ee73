"""The stranger reads with the weights that the run began with, and the difference raises the alarm."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub

from pseudo_gumbel.hooks.stranger_hook import Compared, StrangerHook
from pseudo_gumbel.step import Captions
from sa2va_native.errors import ConfigError
from sa2va_native.structures import DrawKey
from tests.pseudo_gumbel.hooks.test_caption_panel_hook import Wrapper
from tests.tiny import tiny_batch, tiny_pseudo_gumbel


def runner_of(model: Any, name: str) -> tuple[Any, list[str]]:
    warnings: list[str] = []
    logger = logging.Logger("stranger")
    logger.addFilter(lambda record: warnings.append(record.getMessage()) or True)
    hub = MessageHub.get_instance(name)
    return SimpleNamespace(model=model, optim_wrapper=Wrapper(), iter=0, message_hub=hub, logger=logger), warnings


@pytest.mark.parametrize("config", ["pseudo_gumbel_tiny", "word_trials_tiny"])
def test_both_read_the_teachers_captions_once(config: str) -> None:
    """A word trial reads many rows. Red when those are read, an empty caption counts, or one weight serves both."""
    model = tiny_pseudo_gumbel(config)
    hook, (runner, _) = StrangerHook(interval=1), runner_of(model, f"stranger_{config}")
    hook.before_train(runner)
    batch = tiny_batch("cycle", 3, two_frames=True)
    captions = model.teacher_captions(model.begin(batch).pictures1, batch.caption_side.region)
    captions = Captions([*captions.ids[:2], torch.tensor([], dtype=torch.long)], captions.stopped)
    model.teacher_captions = lambda *_: captions
    hook.before_train_iter(runner, 0)
    model(batch, mode="loss")
    assert [one.key for one in hook.new] == batch.keys[:2]
    assert all(one.own == one.stranger for one in hook.new), "the weights are still those of the start"

    kept = [one.stranger for one in hook.new]
    for parameter in model.student.part("seg_head"):
        parameter.data.mul_(-1)
    hook.new = None
    model(batch, mode="loss")
    assert hook.new is None, "it is not due"
    hook.before_train_iter(runner, 0)
    model(batch, mode="loss")
    assert [one.stranger for one in hook.new] == pytest.approx(kept, abs=1e-6)
    assert [one.own for one in hook.new] != pytest.approx(kept, abs=1e-3)


def test_the_alarm_is_told_once() -> None:
    """Red when a half-filled window warns, or the means are not over the window."""
    hook = StrangerHook(window=2, difference=0.2)
    runner, warnings = runner_of(None, "stranger_alarm")
    for step, (own, stranger) in enumerate([(0.9, 0.1), (0.5, 0.5), (0.7, 0.2), (0.6, 0.6)]):
        hook.new = [Compared(DrawKey(step, 0), own, stranger)]
        hook.after_train_iter(runner, step)
    assert len(warnings) == 1
    assert "last 2 compared captions, escape/own_minus_stranger: the student's masks are 0.40 IoU better" in warnings[0]
    assert runner.message_hub.get_scalar("train/escape/own_minus_stranger").data[0] == pytest.approx(
        [0.8, 0.4, 0.25, 0.25]
    )
    assert runner.message_hub.get_scalar("train/escape/own").data[0] == pytest.approx([0.9, 0.7, 0.6, 0.65])


def test_options_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"StrangerHook.difference=5"):
        StrangerHook(difference=5)
    with pytest.raises(ConfigError, match="interval=0"):
        StrangerHook(interval=0)

"""The figures of reward escape are those of the captions and masks that were seen, and warn once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from pseudo_gumbel.hooks.reward_escape_hook import RewardEscapeHook, look
from pseudo_gumbel.step import Captions, CycleStep
from sa2va_native.errors import ConfigError
from sa2va_native.structures import DrawKey, Side
from tests.pseudo_gumbel.hooks.test_caption_panel_hook import Wrapper
from tests.tiny import cycle_step

HIT, EMPTY, OTHER = "hit", "empty", "other"


def seen(micro_step: int, captions: Sequence[Sequence[int]], drawn: Sequence[str], readings: int = 1) -> CycleStep:
    """A step whose readings hit the object, draw nothing, or draw beside it."""
    masks = {kind: torch.full((8, 8), -2.0) for kind in (HIT, EMPTY, OTHER)}
    masks[HIT][:, :4] = masks[OTHER][:, 4:] = 2.0
    ids = [torch.tensor(caption, dtype=torch.long) for caption in captions]
    step = cycle_step(torch.zeros(len(ids), 3, 5), Captions(ids, [True] * len(ids)), readings=readings)
    true = (masks[HIT] > 0).float().repeat(len(ids), 1, 1)
    nothing = torch.empty(0)
    keys = [DrawKey(micro_step, sample) for sample in range(len(ids))]
    step.batch = step.batch._replace(caption_side=Side(nothing, nothing, nothing, true), mask_side=None, keys=keys)
    step.mask_logits = torch.stack([masks[kind] for kind in drawn])
    return step


def test_shares_are_those_of_the_readings_of_spoken_captions() -> None:
    """Two readings each. Red when an empty caption's masks count, or readings of another sample are mixed in."""
    hook = RewardEscapeHook()
    drawn = [EMPTY, HIT, OTHER, OTHER, EMPTY, EMPTY, HIT, HIT]
    hook.looks.append(look(seen(0, [[1, 2], [3], [], [1, 2]], drawn, readings=2)))
    hook.collect()
    assert [(one.empty, one.elsewhere) for one in hook.seen] == [(0.5, 0), (0, 1), (1, 0), (0, 0)]
    assert hook.figures() == pytest.approx({"distinct": 3 / 4, "commonest": 1 / 2, "empty": 1 / 6, "elsewhere": 1 / 3})


def test_without_spoken_captions_masks_have_no_figure() -> None:
    """Red for a division by zero, or for masks of nothing that pass for a good sign."""
    hook = RewardEscapeHook()
    assert hook.figures() == {}
    hook.looks.append(look(seen(0, [[], []], [HIT, HIT])))
    hook.collect()
    assert hook.figures() == {"distinct": 0.5, "commonest": 1.0}


def test_the_window_keeps_the_newest_captions_in_joint_order() -> None:
    """Red when a rank's order of arrival decides what falls out."""
    hook = RewardEscapeHook(window=3)
    hook.looks += [look(seen(1, [[3], [4]], [HIT] * 2)), look(seen(0, [[1], [2]], [HIT] * 2))]
    hook.collect()
    assert [one.caption for one in hook.seen] == [(2,), (3,), (4,)]


def run(hook: RewardEscapeHook, steps: Sequence[CycleStep | None]) -> tuple[list[str], Any]:
    """Micro-batches of a run with two to an optimizer step, None for one of human expressions; the warnings."""
    warnings: list[str] = []
    logger = logging.Logger("escape")
    logger.addFilter(lambda record: warnings.append(record.getMessage()) or True)
    model: Any = nn.Linear(1, 1)
    model.watchers = []
    hub = MessageHub.get_instance(f"escape_{id(hook)}")
    runner = SimpleNamespace(model=model, optim_wrapper=Wrapper(), iter=0, message_hub=hub, logger=logger)
    hook.before_train(runner)
    for step in steps:
        if step is not None:
            model.watchers[0](step)
        runner.optim_wrapper.inner_count += 1
        hook.after_train_iter(runner, runner.iter)
        runner.iter += 1
    return warnings, hub


def test_it_warns_once_a_stretch_and_logs_every_interval() -> None:
    """Good, bad, bad, good, bad; a window of 4. Red when a half-filled window warns, or a warning comes each time."""
    good = [[1], [2], [3], [4]], [HIT] * 4
    bad = [[5]] * 4, [EMPTY, EMPTY, EMPTY, OTHER]
    steps = [step for i, (c, d) in enumerate([good, bad, bad, good, bad]) for step in (seen(i, c, d), None)]
    warnings, hub = run(RewardEscapeHook(1, 4, empty=0.5, elsewhere=1, distinct=0.5, commonest=1), steps)
    assert [warning.split(":")[0] for warning in warnings] == [
        f"optimizer step {step}, last 4 captions, escape/{name}" for step in (2, 5) for name in ("distinct", "empty")
    ]
    assert "only 25% of the captions differ from each other (threshold 50%)" in warnings[0]
    assert "75% of the masks are empty (threshold 50%)" in warnings[1]
    assert "\n" not in "".join(warnings)
    assert hub.get_scalar("train/escape/empty").data[0].tolist() == [0, 0.75, 0.75, 0, 0.75]
    assert run(RewardEscapeHook(1, 5, empty=0.5), steps[2:4])[0] == [], "the window is not full"


def test_the_interval_counts_optimizer_steps() -> None:
    steps = [step for i in range(4) for step in (seen(i, [[1]], [HIT]), None)]
    _, hub = run(RewardEscapeHook(interval=2), steps)
    assert len(hub.get_scalar("train/escape/distinct").data[0]) == 2


def test_options_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"RewardEscapeHook.empty=80"):
        RewardEscapeHook(empty=80)
    with pytest.raises(ConfigError, match=r"window=0"):
        RewardEscapeHook(window=0)

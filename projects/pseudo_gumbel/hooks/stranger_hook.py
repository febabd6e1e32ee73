"""Raises an alarm when only the trained reader still understands the captions."""

from __future__ import annotations

from collections import deque
from statistics import fmean
from typing import Any, NamedTuple

from mmengine.dist import all_gather_object
from mmengine.registry import HOOKS

from pseudo_gumbel.costs.iou import iou
from pseudo_gumbel.hooks.alarm import Alarm
from pseudo_gumbel.hooks.shadow_hook import ShadowHook
from pseudo_gumbel.readers import FrozenReader, StudentReader
from pseudo_gumbel.shadow import Shadow
from pseudo_gumbel.step import CycleStep
from sa2va_native.engine.run.optimizer_steps import accumulation_steps, optimizer_steps
from sa2va_native.errors import ConfigError
from sa2va_native.structures import DrawKey


class Stranger(Shadow):
    """The trained parameters as they were when the run began: a reader that never trained with this captioner."""

    role = "stranger"


class Compared(NamedTuple):
    """One caption, read twice; sorts by micro-step and place in the joint batch."""

    key: DrawKey
    own: float  #: IoU of the student's mask
    stranger: float  #: IoU of the mask that the first weights draw


@HOOKS.register_module()
class StrangerHook(ShadowHook[Stranger]):
    """Lets the weights that the run began with read the teacher's captions too, and compares their masks' IoU.

    Logs ``escape/own`` and ``escape/own_minus_stranger``, means over the last ``window`` compared captions of all
    ranks, and warns in one line, again only after the figure has recovered (:class:`Alarm`). Captions that a stranger
    does not understand are a private code, however well they earn their reward. Costs 4 bytes per trained parameter,
    in checkpoints too, and two readings without gradient at each interval. A resumed run begins with an empty window.

    Args:
        interval: optimizer steps between two comparisons, each on the next cycle micro-batch.
        window: captions.
        difference: warn above it, 0..1.

    Raises:
        ConfigError: a difference outside 0..1, or a window or interval below 1.
        CheckpointError: on resume, if the checkpoint has no such copy or one that does not fit.
    """

    checkpoint_key = "stranger"

    def __init__(self, interval: int = 50, window: int = 64, difference: float = 0.1) -> None:
        super().__init__()
        if min(interval, window) < 1:
            raise ConfigError(f"StrangerHook: interval={interval}, window={window}: both are at least 1")
        self.interval = interval
        self.alarm = Alarm(
            difference,
            "the student's masks are {figure:.2f} IoU better than those that the first weights draw from the same "
            "captions (threshold {threshold:.2f}): captions may become a private code. Look at the panels' captions; "
            "let FrozenReader or TeacherReader read, or train the mask decoder less.",
            "StrangerHook.difference",
        )
        self.seen: deque[Compared] = deque(maxlen=window)  #: the same on all ranks
        self.new: list[Compared] | None = None  #: of this rank, since the last exchange
        self.due = False
        self.stranger = FrozenReader()

    def make(self, model: Any) -> Stranger:
        model.watchers.append(self.compare)
        self.stranger.weights = Stranger(model)
        return self.stranger.weights

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        # Due until a cycle batch comes; that is the same micro-step on all ranks.
        self.due |= runner.iter % (self.interval * accumulation_steps(runner)) == 0

    def compare(self, step: CycleStep) -> None:
        """Two readings of the teacher's captions, if they are due."""
        if not self.due:
            return
        self.due = False
        own, stranger = (
            iou(step.rereading(reader, gradient=False).mask_logits, step.side2.mask).tolist()
            for reader in (StudentReader(), self.stranger)
        )
        compared = map(Compared, step.batch.keys, own, stranger)
        self.new = [one for one, ids in zip(compared, step.captions.ids, strict=True) if len(ids)]

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if self.new is None:
            return
        self.seen.extend(sorted(sample for rank in all_gather_object(self.new) for sample in rank))
        self.new = None
        if not self.seen:
            return
        difference = fmean(one.own - one.stranger for one in self.seen)
        runner.message_hub.update_scalar("train/escape/own", fmean(one.own for one in self.seen))
        runner.message_hub.update_scalar("train/escape/own_minus_stranger", difference)
        if len(self.seen) == self.seen.maxlen and (message := self.alarm.check(difference)):
            runner.logger.warning(
                f"optimizer step {optimizer_steps(runner)}, last {len(self.seen)} compared captions, "
                f"escape/own_minus_stranger: {message}"
            )

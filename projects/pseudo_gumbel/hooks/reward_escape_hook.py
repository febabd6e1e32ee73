"""Raises an alarm when the captioner is rewarded for something else than describing."""

from __future__ import annotations

from collections import deque
from statistics import fmean
from typing import Any, NamedTuple

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import Tensor

from pseudo_gumbel.escape import alike, draws_elsewhere, draws_nothing
from pseudo_gumbel.hooks.alarm import Alarm
from pseudo_gumbel.step import CycleStep
from sa2va_native.engine.run.optimizer_steps import just_stepped, optimizer_steps
from sa2va_native.errors import ConfigError
from sa2va_native.parallel.unwrap import unwrap_model
from sa2va_native.structures import DrawKey


class Seen(NamedTuple):
    """What is kept of one sample; sorts by micro-step and place in the joint batch."""

    key: DrawKey
    caption: tuple[int, ...]  #: the teacher's, ids
    empty: float  #: share of its readings, 0..1
    elsewhere: float  #: share of its readings, 0..1


class Look(NamedTuple):
    """The same of a micro-batch, still on the device."""

    keys: list[DrawKey]
    captions: list[Tensor]
    empty: Tensor  #: [B]
    elsewhere: Tensor  #: [B]

    def samples(self) -> list[Seen]:
        """Waits for the device."""
        captions = [tuple(ids.tolist()) for ids in self.captions]
        return list(map(Seen, self.keys, captions, self.empty.tolist(), self.elsewhere.tolist()))


def look(step: CycleStep) -> Look:
    """What a step's readings draw; adds a few operations on [N, h, w] and no wait for the device."""
    masks = step.per_reading(step.side2.mask)
    empty, elsewhere = draws_nothing(step.mask_logits), draws_elsewhere(step.mask_logits, masks)
    shares = (one.float().unflatten(0, (-1, step.readings)).mean(1) for one in (empty, elsewhere))
    return Look(step.batch.keys, step.captions.ids, *shares)


@HOOKS.register_module()
class RewardEscapeHook(Hook):
    """Logs how captions escape their reward, over the last ``window`` captions of all ranks, and warns in one line.

    Logs ``escape/empty`` and ``escape/elsewhere`` (shares of the readings of captions that are not empty: nothing
    drawn; less than a tenth of what is drawn lies on the object), ``escape/distinct`` (different captions as a share
    of all) and ``escape/commonest`` (share of the commonest caption). Captions are the teacher's. The values do not
    depend on the number of ranks. A warning needs a full window, and comes again only after the figure has recovered
    (:class:`Alarm`). A resumed run begins with an empty window.

    Args:
        interval: optimizer steps between two values, each one exchange of a few integers per caption between ranks.
        window: captions.
        empty: warn above this share. Trials of words that name nothing in the picture rightly draw nothing.
        elsewhere: warn above this share.
        distinct: warn below this share.
        commonest: warn above this share.

    Raises:
        ConfigError: a share outside 0..1, or a window or interval below 1.
    """

    priority = "NORMAL"

    def __init__(
        self,
        interval: int = 10,
        window: int = 200,
        empty: float = 0.8,
        elsewhere: float = 0.6,
        distinct: float = 0.1,
        commonest: float = 0.5,
    ) -> None:
        if min(interval, window) < 1:
            raise ConfigError(f"RewardEscapeHook: interval={interval}, window={window}: both are at least 1")
        self.interval = interval
        self.alarms = {
            "empty": Alarm(
                empty,
                "{figure:.0%} of the masks are empty (threshold {threshold:.0%}): captions may learn words that draw "
                "nothing because that costs less than a wrong object. Look at the panels' words and at cost.",
                "RewardEscapeHook.empty",
            ),
            "elsewhere": Alarm(
                elsewhere,
                "{figure:.0%} of the masks lie elsewhere than on the object (threshold {threshold:.0%}): captions may "
                "describe another object, or the reader no longer understands them. Look at the panels' masks, and "
                "whether referring holds.",
                "RewardEscapeHook.elsewhere",
            ),
            "distinct": Alarm(
                distinct,
                "only {figure:.0%} of the captions differ from each other (threshold {threshold:.0%}): the captioner "
                "may no longer look. Look at the panels' captions, the learning rate and ema_teacher.decay.",
                "RewardEscapeHook.distinct",
                too_low=True,
            ),
            "commonest": Alarm(
                commonest,
                "one caption makes up {figure:.0%} of all (threshold {threshold:.0%}): the captioner may no longer "
                "look. Look at the panels' captions, the learning rate and ema_teacher.decay.",
                "RewardEscapeHook.commonest",
            ),
        }
        self.seen: deque[Seen] = deque(maxlen=window)  #: the same on all ranks
        self.looks: list[Look] = []  #: of this rank, since the last exchange

    def before_train(self, runner: Any) -> None:
        model: Any = unwrap_model(runner.model)
        model.watchers.append(lambda step: self.looks.append(look(step)))

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        step = optimizer_steps(runner)
        if not just_stepped(runner) or step % self.interval:
            return
        self.collect()
        for name, figure in self.figures().items():
            runner.message_hub.update_scalar(f"train/escape/{name}", figure)
            if len(self.seen) == self.seen.maxlen and (message := self.alarms[name].check(figure)):
                runner.logger.warning(
                    f"optimizer step {step}, last {len(self.seen)} captions, escape/{name}: {message}"
                )

    def collect(self) -> None:
        """Adds what all ranks have seen since the last call, in the order of the joint batches. A collective."""
        own = [sample for one in self.looks for sample in one.samples()]
        self.looks = []
        self.seen.extend(sorted(sample for rank in all_gather_object(own) for sample in rank))

    def figures(self) -> dict[str, float]:
        """The window's figures by name; those of masks are missing while every caption is empty."""
        spoken = [sample for sample in self.seen if sample.caption]
        distinct, commonest = alike([sample.caption for sample in self.seen])
        figures = {"distinct": distinct, "commonest": commonest} if self.seen else {}
        if spoken:
            figures["empty"] = fmean(sample.empty for sample in spoken)
            figures["elsewhere"] = fmean(sample.elsewhere for sample in spoken)
        return figures

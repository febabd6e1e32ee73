"""What an optimizer step takes, and where a run goes on whose steps are of another size than before."""

from __future__ import annotations

import logging
from typing import NamedTuple

from sa2va_native.errors import CheckpointError


class StepSize(NamedTuple):
    """The size of an optimizer step."""

    accumulation: int  #: micro-batches on each rank
    samples: int  #: on all ranks together


def count_in_own_batches(iteration: int, before: StepSize, now: StepSize, where: str, logger: logging.Logger) -> int:
    """A run goes on after the optimizer step at which it stopped; iterations count *this* run's micro-batches.

    Args:
        iteration: of the checkpoint, in the micro-batches of the run that wrote it.
        before: the step of that run.
        now: the step of this one.
        where: the checkpoint, for messages.
        logger: is warned of another number of samples.

    Returns:
        the iteration to go on from.

    Raises:
        CheckpointError: the checkpoint was written inside a step, and a step has another number of micro-batches now.
    """
    if before.accumulation != now.accumulation:
        steps, rest = divmod(iteration, before.accumulation)
        if rest:
            raise CheckpointError(
                f"{where} was written {rest} of {before.accumulation} micro-batches into a step, which does not fit "
                f"steps of {now.accumulation}. Set accumulative_counts={before.accumulation}, or use a checkpoint at a "
                "full step."
            )
        iteration = steps * now.accumulation
    if before.samples != now.samples:
        logger.warning(
            f"A step of the checkpoint took {before.samples} samples and one of this run takes {now.samples}, as the "
            "config says. Some samples of the current pass come twice or not at all, and the learning rate follows "
            "the schedule. For the same batch change train_dataloader.batch_size or accumulative_counts."
        )
    return iteration

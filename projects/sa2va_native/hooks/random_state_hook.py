"""Random states in the checkpoint, so that a resumed run equals the uninterrupted one."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from sa2va_native.randomness.states import get_random_state, set_random_state


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Saves every rank's random states with the checkpoint and restores them when a run is resumed.

    With another number of ranks there is nothing to restore: each rank is then seeded from the run's seed,
    the iteration and its rank, and a warning says that the runs will differ.
    """

    priority = "VERY_LOW"

    def __init__(self) -> None:
        self.saved: list[dict[str, Any]] | None = None
        self.gathered: list[dict[str, Any]] = []

    def before_checkpoint(self, runner: Any) -> None:
        """On all ranks."""
        own = get_random_state()
        if get_world_size() == 1:
            self.gathered = [own]
        else:
            self.gathered = [{} for _ in range(get_world_size())]
            torch.distributed.all_gather_object(self.gathered, own)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        checkpoint["random_states"] = self.gathered

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        self.saved = checkpoint.pop("random_states", None)

    def before_train_epoch(self, runner: Any) -> None:
        if runner.iter == 0 or self.saved is None:
            return
        if len(self.saved) == get_world_size():
            set_random_state(self.saved[get_rank()])
        else:
            runner.logger.warning(
                f"The checkpoint holds the random states of {len(self.saved)} ranks and this run has "
                f"{get_world_size()}: new states are derived from the seed, and the run will differ from one that was "
                "not stopped."
            )
            seed = hash((runner.seed, runner.iter, get_rank())) % 2**32
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
        self.saved = None

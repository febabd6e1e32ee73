"""The base of hooks that keep a copy of the weights in checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import torch
import torch.distributed as dist
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from pseudo_gumbel.shadow import Shadow
from sa2va_native.errors import CheckpointError
from sa2va_native.parallel.parameters import without_padding
from sa2va_native.parallel.unwrap import unwrap_model

Kind = TypeVar("Kind", bound=Shadow)


class ShadowHook(Hook, Generic[Kind]):
    """Copies the weights when a run begins, and restores the copy from the checkpoint when the run is resumed.

    A subclass makes the copy (:meth:`make`) and names the ``checkpoint_key`` under which checkpoints hold it.

    Raises:
        CheckpointError: on resume, if the checkpoint has no copy or one that does not fit.
    """

    priority = "NORMAL"
    keeps_shadow = True  #: for the memory plan of a run
    checkpoint_key: str  #: the key of the copy in checkpoints
    shadow: Kind

    def __init__(self) -> None:
        self.loaded: dict[str, torch.Tensor] | None = None
        self.to_save: dict[str, torch.Tensor] = {}

    def make(self, model: Any) -> Kind:
        """Copies the bare model's weights and gives the copy to the model."""
        raise NotImplementedError

    def before_train(self, runner: Any) -> None:
        self.shadow = self.make(unwrap_model(runner.model))
        if runner.iter > 0:
            self._restore()

    def before_checkpoint(self, runner: Any) -> None:
        """On all ranks: under ZeRO the shares are gathered."""
        if self.shadow.is_shared_out or is_main_process():
            state = self.shadow.state_dict()
            self.to_save = state if is_main_process() else {}

    def kept_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """What this rank holds of the copy, by name; a checkpoint is refused if it is not finite."""
        for name, param in self.shadow.params.items():
            yield f"{self.shadow.role} {name}", without_padding(param, self.shadow.shadow[name])

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        checkpoint[self.checkpoint_key], self.to_save = self.to_save, {}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        self.loaded = checkpoint.pop(self.checkpoint_key, None)

    def _restore(self) -> None:
        loaded, self.loaded = self.loaded, None
        if loaded is None:
            raise CheckpointError(
                f"the checkpoint to resume has no {self.shadow.role}: it was written without {type(self).__name__}, or "
                "by a strategy that keeps no hook state. Start a new run from its weights with --load-from."
            )
        if self.shadow.is_partitioned:
            loaded = self._from_main_rank(loaded)
        self.shadow.load_state_dict(loaded)

    def _from_main_rank(self, loaded: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Under ZeRO-3 every rank reads its own file, and only the main rank's holds the copy."""
        names: list[Any] = [{name: tuple(tensor.shape) for name, tensor in loaded.items()}]
        dist.broadcast_object_list(names)
        device = next(iter(self.shadow.shadow.values())).device
        state = {}
        for name, shape in names[0].items():
            tensor = loaded[name].to(device) if is_main_process() else torch.empty(shape, device=device)
            dist.broadcast(tensor, 0)
            state[name] = tensor.cpu()
        return state

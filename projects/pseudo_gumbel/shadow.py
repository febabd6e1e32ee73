"""A float32 copy of the trained parameters, which can temporarily replace the student's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from sa2va_native.errors import CheckpointError, ConfigError, did_you_mean
from sa2va_native.parallel.parameters import (
    full_shape,
    is_finite,
    is_partitioned,
    local_tensor,
    release_gathered,
    stop_fetching_ahead,
    trainable_parameters,
)
from sa2va_native.parallel.shares import gather_shares, is_shared_out, own_share, replacement, take_share


class Shadow:
    """The trained parameters in float32, by name.

    Frozen parameters are shared with the student, so the copy costs 4 bytes per *trained* parameter. Under ZeRO each
    rank keeps a share of it. Under ZeRO-1 and 2, whose parameters are whole, it is gathered when it is used.

    Args:
        student: the bare model; its trained parameters are copied.
    """

    role = "shadow"  #: what it is, for messages

    def __init__(self, student: nn.Module) -> None:
        self.params = trainable_parameters(student)
        self.shadow = {name: own_share(param).detach().float().clone() for name, param in self.params.items()}

    @contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[None]:
        """The model computes with the copy's weights inside the context, and is the student again after it.

        Tensors are exchanged, not copied, so that the student comes back bit for bit. Use it under
        ``torch.no_grad()``, around whole forwards of submodules, on all ranks.

        Args:
            model: the student, or any module that has it as submodule.
        """
        stop_fetching_ahead(self.params.values())
        for param in self.params.values():
            release_gathered(param)
        student = {name: local_tensor(param).data for name, param in self.params.items()}
        try:
            for name, param in self.params.items():
                _owner(param).data = replacement(param, self.shadow[name].to(student[name].dtype))
            torch.clear_autocast_cache()  # its casts belong to a parameter, whatever tensor that holds by now
            yield
        finally:
            for name, param in self.params.items():
                _owner(param).data = student[name]
                release_gathered(param)  # ZeRO-3 may have kept the copy's whole tensor
            torch.clear_autocast_cache()

    def weights(self) -> dict[str, torch.Tensor]:
        """The copy's tensors in the student's type, by name. A collective under ZeRO-1 and 2.

        Raises:
            ConfigError: under ZeRO-3, where no rank has whole tensors.
        """
        if self.is_partitioned:
            raise ConfigError(
                f"whole tensors of the {self.role} are needed, but ZeRO-3 splits them: use ZeRO-1 or ZeRO-2"
            )
        return {name: replacement(param, self.shadow[name].to(param.dtype)) for name, param in self.params.items()}

    @property
    def is_partitioned(self) -> bool:
        """Whether the student's parameters are slices too (ZeRO-3)."""
        return any(is_partitioned(param) for param in self.params.values())

    @property
    def is_shared_out(self) -> bool:
        """Whether ranks hold different parts of the copy (ZeRO) instead of all holding everything."""
        return any(is_shared_out(param) for param in self.params.values())

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Whole float32 tensors on the CPU, by name; the same for every sharding. A collective under ZeRO."""
        return {name: gather_shares(param, self.shadow[name]).cpu().clone() for name, param in self.params.items()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restores :meth:`state_dict`.

        Raises:
            CheckpointError: a name is missing or unexpected, a shape or the kind of numbers differs, or a value is not
                finite; then nothing is loaded.
        """
        missing = self.params.keys() - state.keys()
        if missing:
            name = sorted(missing)[0]
            near = did_you_mean(name, state.keys()) if state else "It is empty."
            raise CheckpointError(
                f"the checkpoint's {self.role} lacks {len(missing)} of the {len(self.params)} trained tensors, "
                f"e.g. {name}. {near} Train the same parts as in that run."
            )
        unexpected = state.keys() - self.params.keys()
        if unexpected:
            raise CheckpointError(
                f"the checkpoint's {self.role} has {len(unexpected)} tensors that this run does not train, e.g. "
                f"{sorted(unexpected)[0]}. Train the same parts as in that run."
            )
        for name, param in self.params.items():
            if tuple(state[name].shape) != full_shape(param):
                raise CheckpointError(
                    f"{self.role} tensor {name} has shape {tuple(state[name].shape)} in the checkpoint and "
                    f"{full_shape(param)} in the model. Use the config that wrote the checkpoint."
                )
            if not state[name].is_floating_point():
                raise CheckpointError(
                    f"{self.role} tensor {name} is of type {state[name].dtype} in the checkpoint, not of floating "
                    "point. Take another checkpoint."
                )
            if not is_finite(state[name]):
                raise CheckpointError(
                    f"{self.role} tensor {name} is not finite in the checkpoint. Take a checkpoint from before."
                )
        for name, param in self.params.items():
            self.shadow[name].copy_(take_share(param, state[name].to(self.shadow[name].device, torch.float32)))


def _owner(param: nn.Parameter) -> torch.Tensor:
    """The tensor object whose ``.data`` is exchanged: the parameter, or its ZeRO-3 slice."""
    return param.ds_tensor if is_partitioned(param) else param  # type: ignore[attr-defined]

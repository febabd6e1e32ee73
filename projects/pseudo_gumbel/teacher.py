"""The EMA teacher: a float32 shadow of what is trained, put into the student's place while it captions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from sa2va_native.errors import CheckpointError, ConfigError, did_you_mean
from sa2va_native.parallel.parameters import (
    full_shape,
    gather_slices,
    is_partitioned,
    local_tensor,
    release_gathered,
    stop_fetching_ahead,
    take_slice,
    trainable_parameters,
    without_padding,
)


class EMATeacher:
    """Exponential moving average of the trained parameters, by name.

    Frozen parameters are shared with the student, so the teacher costs 4 bytes per *trained* parameter. The
    shadow is float32 whatever the student's type: in bfloat16 an average with decay 0.999 never moves. Under
    ZeRO-3 each rank keeps the shadow of its own slices.

    Args:
        student: the bare model; its trained parameters are copied.
    """

    def __init__(self, student: nn.Module) -> None:
        self.params = trainable_parameters(student)
        self.shadow = {name: local_tensor(param).detach().float().clone() for name, param in self.params.items()}

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """``shadow = decay * shadow + (1 - decay) * student``. Local to the rank, no collective.

        Args:
            decay: share of the teacher that is kept, in [0, 1]; 1 leaves it, 0 copies the student.
        """
        for name, param in self.params.items():  # one by one: a float32 copy of the whole student would be large
            self.shadow[name].lerp_(local_tensor(param).float(), 1.0 - decay)

    @contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[None]:
        """The model computes with the teacher's weights inside the context, and is the student again after
        it, bit for bit.

        Tensors are exchanged, not copied. Use it under ``torch.no_grad()``, around whole forwards of
        submodules, on all ranks.

        Args:
            model: the student, or any module that has it as submodule.
        """
        stop_fetching_ahead(self.params.values())
        for param in self.params.values():
            release_gathered(param)
        student = {name: local_tensor(param).data for name, param in self.params.items()}
        try:
            for name, param in self.params.items():
                _owner(param).data = self.shadow[name].to(student[name].dtype)
            yield
        finally:
            for name, param in self.params.items():
                _owner(param).data = student[name]
                release_gathered(param)  # ZeRO-3 may have kept the teacher's whole tensor

    def weights(self) -> dict[str, torch.Tensor]:
        """The teacher's tensors in the student's type, by name.

        Raises:
            ConfigError: under ZeRO-3, where no rank has whole tensors.
        """
        if self.is_partitioned:
            raise ConfigError("the teacher's whole tensors are asked for, which ZeRO-3 splits: use ZeRO-1 or ZeRO-2")
        return {name: self.shadow[name].to(param.dtype) for name, param in self.params.items()}

    @torch.no_grad()
    def distance(self) -> torch.Tensor:
        """Relative L2 distance ``|student - teacher| / |teacher|``, a scalar. A collective under ZeRO-3."""
        apart, length = [], []
        for name, param in self.params.items():
            shadow = without_padding(param, self.shadow[name])
            apart.append((without_padding(param, local_tensor(param)).float() - shadow).norm())
            length.append(shadow.norm())
        squares = torch.stack([torch.stack(apart).square().sum(), torch.stack(length).square().sum()])
        if self.is_partitioned:
            torch.distributed.all_reduce(squares)
        return (squares[0] / squares[1].clamp_min(1e-30)).sqrt()

    @property
    def is_partitioned(self) -> bool:
        """Whether ranks hold slices (ZeRO-3) instead of all holding everything."""
        return any(is_partitioned(param) for param in self.params.values())

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Whole float32 tensors on the CPU, by name; the same for every sharding. A collective under ZeRO-3."""
        return {name: gather_slices(param, self.shadow[name]).cpu().clone() for name, param in self.params.items()}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restores :meth:`state_dict`.

        Raises:
            CheckpointError: a name is missing or unexpected, or a shape differs; nothing is loaded then.
        """
        missing = self.params.keys() - state.keys()
        if missing:
            name = sorted(missing)[0]
            raise CheckpointError(
                f"the checkpoint's teacher lacks {len(missing)} of the {len(self.params)} trained "
                f"tensors, e.g. {name}. "
                f"{did_you_mean(name, state.keys()) if state else 'It is empty.'} Train the same parts as in that run."
            )
        unexpected = state.keys() - self.params.keys()
        if unexpected:
            raise CheckpointError(
                f"the checkpoint's teacher has {len(unexpected)} tensors that this run does not train, e.g. "
                f"{sorted(unexpected)[0]}. Train the same parts as in that run."
            )
        for name, param in self.params.items():
            if tuple(state[name].shape) != full_shape(param):
                raise CheckpointError(
                    f"teacher tensor {name} has shape {tuple(state[name].shape)} in the checkpoint and "
                    f"{full_shape(param)} in "
                    "the model. Use the config that wrote the checkpoint."
                )
        for name, param in self.params.items():
            self.shadow[name].copy_(take_slice(param, state[name].to(self.shadow[name].device, torch.float32)))


def _owner(param: nn.Parameter) -> torch.Tensor:
    """The tensor object whose ``.data`` is exchanged: the parameter, or its ZeRO-3 slice."""
    return param.ds_tensor if is_partitioned(param) else param  # type: ignore[attr-defined]

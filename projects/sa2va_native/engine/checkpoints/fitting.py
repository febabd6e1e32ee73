"""Whether what a checkpoint holds fits a model and its optimizer, by names, shapes and values.

Models and optimizers may be without values (on the meta device), as in a dry run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sa2va_native.errors import CheckpointError, Sa2VAError, printable
from sa2va_native.parallel.parameters import is_finite

_REMEDY = "Use the config that wrote the checkpoint."


@contextmanager
def as_written(where: str) -> Iterator[None]:
    """For code that takes a checkpoint for one that a run wrote, which it may not be.

    Raises:
        CheckpointError: the code ended in an error of Python.
    """
    try:
        yield
    except Sa2VAError:  # some are a ValueError too
        raise
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"{where} is not laid out as a run writes checkpoints ({type(error).__name__}: {printable(str(error))}). "
            "Take another one."
        ) from error


def require_weights(state: Mapping[str, Any], model: nn.Module, needed: Collection[str], where: str) -> None:
    """Checks weights by name.

    Args:
        state: the weights; what is not a tensor has no shape.
        model: the bare model.
        needed: names that must be there.
        where: the checkpoint, for messages.

    Raises:
        CheckpointError: a needed tensor is missing, one is unexpected, a shape or kind of number differs, or a value
            is not finite.
    """
    own = model.state_dict()
    missing, unexpected = needed - state.keys(), state.keys() - own.keys()
    if missing or unexpected:
        kind, names = ("lacks", missing) if missing else ("has unknown", unexpected)
        example = printable(min(map(str, names)))
        raise CheckpointError(f"{where} {kind} {len(names)} tensors, e.g. {example}. {_REMEDY}")
    require_shapes({name: _shape(value) for name, value in state.items()}, {n: own[n].shape for n in state}, where)
    floating = {name: value for name, value in state.items() if own[name].is_floating_point()}
    require_floating(floating.items(), where)
    require_finite(((name, value) for name, value in state.items() if name not in floating), where)


def require_shapes(there: Mapping[str, Any], own: Mapping[str, Any], where: str) -> None:
    """Checks shapes by name, and the names too.

    Raises:
        CheckpointError: a name is on one side only, or a shape differs.
    """
    for name in sorted(there.keys() | own.keys()):
        if there.get(name) != own.get(name):
            shapes = [None if shape is None else tuple(shape) for shape in (there.get(name), own.get(name))]
            raise CheckpointError(
                f"{where} does not fit the model: it has {printable(name)} with shape {shapes[0]} and this run trains "
                f"it with {shapes[1]} (None: not at all). {_REMEDY}"
            )


def require_optimizer(saved: Mapping[str, Any], optimizer: Optimizer, where: str) -> None:
    """Checks the state of an optimizer, such as its moments.

    Args:
        saved: ``state_dict()`` of the optimizer that was saved.
        optimizer: of this run.
        where: the checkpoint, for messages.

    Raises:
        CheckpointError: groups, their sizes or shapes differ, or a value is not finite.
    """
    groups = [len(group["params"]) for group in saved["param_groups"]]
    own = [len(group["params"]) for group in optimizer.param_groups]
    if groups != own:
        raise CheckpointError(
            f"{where}: its optimizer has groups of {groups} parameters and this run's {own}. {_REMEDY}"
        )
    for group, ours in zip(saved["param_groups"], optimizer.param_groups, strict=True):
        for index, param in zip(group["params"], ours["params"], strict=True):
            state = saved["state"].get(index, {})
            for key, value in state.items():
                if isinstance(value, Tensor) and value.ndim and value.shape != param.shape:
                    raise CheckpointError(
                        f"{where}: {key} of the optimizer's parameter {index} has shape {tuple(value.shape)} for "
                        f"{tuple(param.shape)}. {_REMEDY}"
                    )
            require_finite(((f"{key} of the optimizer's parameter {index}", one) for key, one in state.items()), where)


def require_finite(tensors: Iterable[tuple[str, Any]], where: str) -> None:
    """Checks values, tensor by tensor; what is not a floating tensor is passed over.

    Raises:
        CheckpointError: one is NaN or infinite.
    """
    for name, tensor in tensors:
        if not is_finite(tensor):
            raise CheckpointError(
                f"{where}: {printable(str(name))} is not finite. Take a checkpoint from before, and a lower learning "
                "rate."
            )


def require_floating(tensors: Iterable[tuple[str, Tensor]], where: str) -> None:
    """Checks tensors of floating point, one by one, for their kind and values.

    Raises:
        CheckpointError: one holds whole numbers, such as quantised weights, or is NaN or infinite.
    """
    for name, tensor in tensors:
        if not tensor.is_floating_point():
            raise CheckpointError(
                f"{where}: {printable(name)} is of type {tensor.dtype}, not of floating point. {_REMEDY}"
            )
        require_finite([(name, tensor)], where)


def _shape(value: Any) -> torch.Size | None:
    return value.shape if isinstance(value, Tensor) else None

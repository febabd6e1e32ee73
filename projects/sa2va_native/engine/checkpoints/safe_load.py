"""Reads what ``torch.save`` wrote without running code that someone put into it.

A pickle names the classes and functions ("globals") that unpickling imports and calls. Checkpoints are
shared between people, so only globals on the lists below are allowed, and torch's restricted unpickler reads them.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from sa2va_native.checkpoints.stored import StandIn, require_bounded
from sa2va_native.errors import CheckpointError, printable
from sa2va_native.files.sealed_archive import foreign_records

#: What DeepSpeed's optimizer states of every ZeRO stage need beyond tensors and plain values.
_DEEPSPEED = {
    "deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler",
    "deepspeed.runtime.fp16.loss_scaler.LossScaler",
    "deepspeed.runtime.zero.config.ZeroStageEnum",
    "deepspeed.utils.tensor_fragment.fragment_address",
}
#: The history of logs in checkpoints that MMEngine's own hook wrote. It is not used here: not built, not called.
_LOG_HISTORY = {
    "builtins.getattr",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
}


def load_file(path: str | Path, mmap: bool = False) -> Any:
    """What ``torch.save`` wrote to ``path``, on the CPU.

    Args:
        path: the file.
        mmap: leave tensors in the file until they are read.

    Raises:
        CheckpointError: it is not such a file, or it names a global that no checkpoint needs; nothing is run then.
    """
    known: list[Any] = [(_object(name), name) for name in require_known_globals(path)]
    try:
        with safe_globals(known):
            content = torch.load(str(path), map_location="cpu", mmap=mmap, weights_only=True)
        require_bounded(content)
    except Exception as error:  # of many kinds, where a file is damaged
        raise CheckpointError(f"{path} cannot be read ({_first_line(error)}). Take another one.") from error
    return content


def require_known_globals(path: str | Path) -> list[str]:
    """The globals on our lists that a file names; reads its pickle without unpickling it.

    Raises:
        CheckpointError: it names another one, or cannot be read.
    """
    problem = foreign_records(Path(path))
    try:
        named = [] if problem else get_unsafe_globals_in_checkpoint(str(path))
    except Exception as error:  # of many kinds, where a file is damaged
        problem = f"has a pickle that cannot be read: {_first_line(error)}"
    if problem:
        raise CheckpointError(f"{path} is not a file that torch.save writes: it {problem}. Take another one.")
    foreign = sorted(set(named) - _DEEPSPEED - _LOG_HISTORY)
    if foreign:
        raise CheckpointError(
            f"{path} holds {printable(foreign[0])}, which no checkpoint needs and which could run code when it is "
            "loaded. Nothing was loaded. Take a checkpoint from a source that you trust."
        )
    return named


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _object(name: str) -> Any:
    if name in _LOG_HISTORY:
        return StandIn
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)

"""Supplies what MMEngine imports from DeepSpeed but DeepSpeed no longer has."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from torch.optim import Optimizer

_ONEBIT = "deepspeed.runtime.fp16.onebit"


def supply_onebit() -> None:
    """Supplies a substitute for ``deepspeed.runtime.fp16.onebit``, which DeepSpeed dropped in 0.19.8.

    MMEngine (0.10.7 and 0.11.0rc3) imports its three optimizers whenever a ``DeepSpeedStrategy`` is made, used or not,
    only to register them. The ones supplied here can be registered but not built. Does nothing where DeepSpeed has
    its own.
    """
    if _ONEBIT in sys.modules or find_spec(_ONEBIT) is not None:
        return
    module = ModuleType(_ONEBIT, "Supplied by sa2va_native for MMEngine.")
    for name in ("OnebitAdam", "OnebitLamb", "ZeroOneAdam"):
        setattr(module, name, type(name, (_DroppedOptimizer,), {"__module__": _ONEBIT}))
    sys.modules[_ONEBIT] = module


class _DroppedOptimizer(Optimizer):
    def __init__(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError(f"this DeepSpeed has no {type(self).__name__}. Choose another optimizer, e.g. AdamW.")

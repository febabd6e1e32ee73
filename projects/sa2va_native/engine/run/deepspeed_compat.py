"""Imports DeepSpeed only for runs that use it, supplies what it no longer has, and mends a fault of its ZeRO-3."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from torch.optim import Optimizer

_ONEBIT = "deepspeed.runtime.fp16.onebit"


def leave_deepspeed_out() -> None:
    """Imports MMEngine's strategies as if DeepSpeed were not installed.

    MMEngine imports them with its runner, and with them DeepSpeed, which nearly doubles the start of a run that does
    not use it. :func:`supply_deepspeed` makes up for it. Does nothing where either is imported already.
    """
    import_module("mmengine.model")  # what the strategies need, transformers above all, may look for DeepSpeed
    if not {"deepspeed", "mmengine._strategy"} & sys.modules.keys():
        sys.modules["deepspeed"] = None  # type: ignore[assignment]  # Python's way to say: not installed
        try:
            import_module("mmengine._strategy")
        finally:
            del sys.modules["deepspeed"]


def supply_deepspeed() -> None:
    """Gives MMEngine's strategy the DeepSpeed that :func:`leave_deepspeed_out` kept from it.

    Raises:
        ImportError: DeepSpeed is not installed.
    """
    import_module("mmengine._strategy.deepspeed").deepspeed = import_module("deepspeed")  # type: ignore[attr-defined]
    supply_onebit()


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


def forget_gradients_after_steps(engine: Any) -> None:
    """Lets ZeRO-3 begin each step without gradients, as the other stages do.

    It overwrites a gradient in the first micro-batch of a step and adds to it in the others. A tensor that takes no
    part in the first one, such as the mask decoder where words are read without gradient, would keep that of the step
    before, and the new one be added to it.
    """
    optimizer = engine.optimizer
    buffer = getattr(optimizer, "grad_partitions_flat_buffer", None)
    if engine.zero_optimization_stage() != 3 or buffer is None:
        return
    step = optimizer.step

    def step_and_forget(*args: Any, **kwargs: Any) -> Any:
        result = step(*args, **kwargs)
        buffer.zero_()
        return result

    optimizer.step = step_and_forget

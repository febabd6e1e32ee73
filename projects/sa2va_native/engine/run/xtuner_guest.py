"""Support for ``xtuner train CONFIG``. No other module knows XTuner.

XTuner 0.2.0 reads the config, sets up MMEngine's runner and starts it; the runner uses our train loop and hooks.
``python -m sa2va_native.engine.run.xtuner_guest`` says whether it can start in this environment.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from typing import Any

#: Distributions that XTuner imports for training, besides those that we need ourselves.
_IMPORTED = ("datasets", "scikit-image", "torchvision")


def adopt_strategy(strategy: Any) -> None:
    """Turns the strategy that ``xtuner train --deepspeed`` sets up into ours, before the model is built.

    Any other strategy, or None, is left unchanged.
    """
    if not type(strategy).__module__.startswith("xtuner."):
        return
    from xtuner.engine import DeepSpeedStrategy

    from sa2va_native.engine.run.strategy import Sa2VADeepSpeedStrategy

    if type(strategy) is DeepSpeedStrategy:
        strategy.__class__ = Sa2VADeepSpeedStrategy
        strategy.load_from = None
        # While this object lives, transformers builds models already sliced under ZeRO-3, and weights loaded
        # afterwards would meet empty tensors. DeepSpeed slices the finished model instead.
        del strategy.hf_deepspeed_config


def missing_for_xtuner(path: Sequence[str] | None = None) -> str | None:
    """What keeps ``xtuner train`` from starting, in one line with the remedy; None if nothing does.

    Args:
        path: folders to look for installed distributions in; those of this process if None.
    """
    installed = {found.metadata["Name"].lower(): found.version for found in distributions(path=list(path or sys.path))}
    if "xtuner" not in installed:
        return "XTuner is not installed. `xtuner train` needs requirements/xtuner_needs.txt and xtuner.txt."
    if _version(installed["xtuner"]) != (0, 2):
        return f"XTuner {installed['xtuner']} is installed. `xtuner train` needs 0.2.0, which trains with MMEngine."
    for name, first, below in (("transformers", (5, 0), "5"), ("deepspeed", (0, 19, 8), "0.19.8")):
        if _version(installed.get(name, "0"), len(first)) >= first:
            return f"{name} {installed[name]} lacks what XTuner 0.2.0 imports. `xtuner train` needs {name}<{below}."
    if absent := [name for name in _IMPORTED if name not in installed]:
        return f"XTuner imports {', '.join(absent)}, not installed: requirements/xtuner_needs.txt has them."
    return None


def _version(text: str, numbers: int = 2) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:numbers])


if __name__ == "__main__":
    if missing := missing_for_xtuner():
        sys.exit(missing)
    print("`xtuner train` can start.")

"""MMEngine's strategy can be made with the installed DeepSpeed, old or new."""

from __future__ import annotations

from pathlib import Path

from mmengine.registry import OPTIMIZERS
from torch import nn

from sa2va_native.engine.run.strategy import Sa2VADeepSpeedStrategy
from tests.ranks import run_ranks


def _make(work_dir: Path) -> tuple[bool, str]:
    """Whether MMEngine has registered DeepSpeed's own optimizer, and what building one says."""
    Sa2VADeepSpeedStrategy(config={}, work_dir=str(work_dir))
    import deepspeed.runtime.fp16 as fp16

    own = (Path(fp16.__file__).parent / "onebit").is_dir()
    try:
        OPTIMIZERS.get("OnebitAdam")(nn.Linear(1, 1).parameters())
    except Exception as error:
        return own, str(error)
    return own, ""


def test_a_strategy_can_be_made(tmp_path: Path) -> None:
    """Red with DeepSpeed 0.19.8 without the module that it dropped, which MMEngine imports for each strategy; or when
    a config that names one of its optimizers trains with something else.
    """
    ((own, said),) = run_ranks(1, _make, tmp_path)
    assert own or said == "this DeepSpeed has no OnebitAdam. Choose another optimizer, e.g. AdamW."

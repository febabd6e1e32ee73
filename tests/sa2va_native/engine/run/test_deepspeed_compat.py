"""MMEngine's strategy can be made with the installed DeepSpeed, old or new, and a run without it does not load it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
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


#: A run without DeepSpeed, then a strategy in the same process.
PLAIN_RUN = """
import sys
from pseudo_gumbel.cli.train import main
main(sys.argv[1:])
print("unused:", [name for name in ("deepspeed", "xtuner", "datasets", "pandas") if name in sys.modules])
from sa2va_native.engine.run.strategy import Sa2VADeepSpeedStrategy
from mmengine.registry import OPTIMIZERS
Sa2VADeepSpeedStrategy(config={}, work_dir=".", env_kwargs=dict(launcher="none"))
print("registered:", "FusedAdam" in OPTIMIZERS.module_dict)
"""


@pytest.mark.slow
def test_a_run_loads_deepspeed_only_where_it_is_used(tmp_path: Path) -> None:
    """Red when MMEngine's runner brings DeepSpeed along again, or hooks XTuner's data sets, each seconds of every
    start; or when a strategy finds no DeepSpeed after the runner was imported without.
    """
    arguments = ["pseudo_gumbel_tiny", "--max-steps", "1", "--work-dir", str(tmp_path)]
    command = [sys.executable, "-c", PLAIN_RUN, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "unused: []" in ended.stdout
    assert "registered: True" in ended.stdout

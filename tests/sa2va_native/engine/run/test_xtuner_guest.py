"""What XTuner's command needs is said in one line, and its strategy becomes ours."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from sa2va_native.engine.run.deepspeed_compat import supply_onebit
from sa2va_native.engine.run.xtuner_guest import adopt_strategy, missing_for_xtuner
from tests.ranks import run_ranks

GOOD = {
    "xtuner": "0.2.0",
    "transformers": "4.57.6",
    "deepspeed": "0.19.4",
    "datasets": "5.0.1",
    "scikit-image": "0.26.0",
    "torchvision": "0.29.1",
}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, None),
        ({"deepspeed": "0.19.7+cu130"}, None),
        ({"xtuner": None}, r"XTuner is not installed.*xtuner\.txt"),
        ({"xtuner": "0.3.1rc0"}, r"XTuner 0\.3\.1rc0 is installed.*needs 0\.2\.0"),
        ({"transformers": "5.24.0"}, r"transformers 5\.24\.0 lacks.*needs transformers<5"),
        ({"deepspeed": "0.19.8"}, r"deepspeed 0\.19\.8 lacks.*needs deepspeed<0\.19\.8"),
        ({"datasets": None, "torchvision": None}, r"imports datasets, torchvision, not installed.*xtuner_needs"),
    ],
)
def test_what_is_missing_is_said_in_one_line(tmp_path: Path, other: dict[str, str | None], said: str | None) -> None:
    """Red when a user meets the traceback of an import inside XTuner, or is sent away although all is there."""
    for name, version in {**GOOD, **other}.items():
        if version is not None:
            folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    missing = missing_for_xtuner([str(tmp_path)])
    if said is None:
        assert missing is None
    else:
        assert missing is not None
        assert "\n" not in missing
        assert re.search(said, missing)


def _adopt(work_dir: Path, module: str, name: str) -> tuple[str, bool]:
    """The class of a strategy after it was adopted, and whether it keeps what slices models as they are built."""
    cls = getattr(importlib.import_module(module), name)
    # Without a launcher: MMEngine's own would choose a GPU.
    strategy = cls(config={}, work_dir=str(work_dir), env_kwargs=dict(launcher="none"))
    adopt_strategy(strategy)
    return type(strategy).__name__, hasattr(strategy, "hf_deepspeed_config")


@pytest.mark.parametrize(
    ("module", "name"),
    [("sa2va_native.engine.run.strategy", "Sa2VADeepSpeedStrategy"), ("mmengine._strategy", "DeepSpeedStrategy")],
)
def test_other_strategies_are_left_alone(tmp_path: Path, module: str, name: str) -> None:
    """Red when a strategy that the config names is exchanged."""
    supply_onebit()
    assert run_ranks(1, _adopt, tmp_path, module, name) == [(name, False)]


@pytest.mark.skipif(missing_for_xtuner() is not None, reason=f"`xtuner train` cannot start: {missing_for_xtuner()}")
def test_xtuners_strategy_becomes_ours(tmp_path: Path) -> None:
    """Red when `xtuner train --deepspeed` writes checkpoints without the teacher, or slices models too early."""
    adopted = run_ranks(1, _adopt, tmp_path, "xtuner.engine", "DeepSpeedStrategy")
    assert adopted == [("Sa2VADeepSpeedStrategy", False)]

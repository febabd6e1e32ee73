"""Broken configs and options, drawn at random: one line and status 1 or 2, and the dry run says the same as the start.

What is drawn may be sound by chance; then both must end with 0. So nothing is accepted that dies in the first steps.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pseudo_gumbel.model  # noqa: F401  these three are imported here, so that forks need not
import sa2va_native.engine.plan.dry_run
import sa2va_native.engine.run.strategy  # noqa: F401
from sa2va_native.datasets.scenes.scene_set import write_scene_set
from sa2va_native.engine.config.provenance import Place, leaves
from sa2va_native.engine.config.reading import read_file
from sa2va_native.files.paths import ROOT
from tests.ranks import Ended, call_tool

SIZES = {"labelled": 6, "mask_only": 4, "test": 2, "test_heldout": 2}
#: How many times 30 configs and options are drawn; more in the environment, for a longer search.
BLOCKS, EACH = int(os.environ.get("PSEUDO_GUMBEL_FUZZ", "2")), 30
CONFIGS = ("pseudo_gumbel_tiny", "word_trials_tiny", "soft_gumbel_tiny")
#: Values to break with, whatever the key.
WRONG = ("nan", "inf", "-1", "0", "-0.5", "1e400", "abc", "[1,2]", "None", "True", "''", "5", "a,b", "no/such/file")
CHILD = """\
from mmengine.config import read_base

with read_base():
    from pseudo_gumbel.configs.{base} import *

train_cfg["max_steps"] = 2
optim_wrapper["optimizer"]["lr"] = 1e-4
model["estimator"].update(temperature=0.7)
default_hooks["logger"] = dict(type=StepLoggerHook, interval=5)
train_dataloader["dataset"]["max_bad_samples"] = 3
_half = 0.5
model["mask_ratio"] = _half / 2
"""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene_set(tmp_path_factory.mktemp("data") / "scenes", sizes=SIZES)


@pytest.fixture(autouse=True)
def _plain_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laying out the config for the log would take most of a run's time."""
    for module in ("mmengine.config.config", "yapf.yapflib.yapf_api"):
        monkeypatch.setattr(f"{module}.FormatCode", lambda text, **_: (text, True), raising=False)


def key_of(place: Place) -> str:
    return ".".join(map(str, place))


def a_value(draw: random.Random, places: list[Place]) -> str:
    return f"{key_of(draw.choice(places))}={draw.choice(WRONG)}"


def a_section(draw: random.Random, places: list[Place]) -> str:
    place = draw.choice(places)
    return f"{key_of(place[: draw.randrange(1, len(place) + 1)])}={draw.choice(WRONG)}"


def a_misspelt_key(draw: random.Random, places: list[Place]) -> str:
    place = [str(part) for part in draw.choice(places)]
    which = draw.randrange(len(place))
    at = draw.randrange(len(place[which]) + 1)
    place[which] = place[which][:at] + draw.choice("abcdez01_") + place[which][at:]
    return f"{'.'.join(place)}=1"


def no_option(draw: random.Random, places: list[Place]) -> str:
    return draw.choice(["train_cfg.max_steps", "=1", "a=[1", "a.b", ".=1", "model..x=1", "train_cfg.=2", "-", "x=(1,2"])


OPTIONS: list[Callable[[random.Random, list[Place]], str]] = [a_value, a_value, a_section, a_misspelt_key, no_option]


def a_broken_file(draw: random.Random, folder: Path, number: int) -> Path:
    """A child config with a line changed, left out, doubled or cut."""
    lines = CHILD.format(base=draw.choice(CONFIGS)).splitlines()
    at = draw.choice([number for number, line in enumerate(lines) if line])
    line = lines[at]
    start, end = draw.choice([match.span() for match in re.finditer(r"\w+|\S", line)])
    lines[at] = draw.choice(
        [
            line[:start] + line[end:],
            line[:start] + draw.choice(["nan", "-1", "abc", "None", "[]", "float('nan')", "1/0", "("]) + line[end:],
            line[:start] + line[start:end] * 2 + line[end:],
            line[: draw.randrange(len(line))],
            " " + line,
            line + "\nimport os, sys",
            line + "\n_base_ = ['a.py']",
        ]
    )
    path = folder / f"broken_{number}.py"
    path.write_text("\n".join(lines) + "\n")
    return path


def call(config: Path, scenes: Path, work_dir: Path, options: list[str], dry: bool) -> Ended:
    data = "train_dataloader.dataset.sources.1.dataset."
    sizes = [f"{data}settings.sizes.{name}={size}" for name, size in SIZES.items()]
    small = [f"{data}root={scenes}", *sizes, "train_dataloader.batch_size=1", "default_hooks.caption_panel.interval=1"]
    start = ["--work-dir", work_dir, "--max-steps", 2, *(["--dry-run"] if dry else [])]
    (ended,) = call_tool(ROOT / "tools/train.py", config, *start, "--cfg-options", *small, *options)
    return ended


def problem_of(start: Ended, dry: Ended) -> str | None:
    """What is wrong with how a broken command line ended."""
    for name, ended in (("start", start), ("dry run", dry)):
        if ended.status not in (0, 1, 2):
            return f"{name}: status {ended.status}"
        if "Traceback" in ended.output:
            return f"{name}: a traceback"
    if (start.status == 0) != (dry.status == 0):
        return f"start {start.status}, dry run {dry.status}"
    if start.status == 1 and "(--debug shows where it was raised)" not in start.output.splitlines()[-1]:
        return "start: no line that says so at the end"
    return None


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_what_is_broken_is_one_line_in_the_start_and_the_dry_run(scenes: Path, tmp_path: Path, block: int) -> None:
    """Red when one ends in a traceback or a signal, is accepted and dies later, or only one of the two refuses it."""
    draw, found, refused = random.Random(block), [], 0
    places: dict[str, list[Place]] = {}
    for name in CONFIGS:
        cfg: dict[str, Any] = read_file(ROOT / f"configs/{name}.py").to_dict()
        places[name] = [place for place, _ in leaves(cfg) if place[:2] != ("model", "sa2va") or draw.random() < 0.2]
    for number in range(EACH):
        options: list[str] = []
        if draw.random() < 0.3:
            config = a_broken_file(draw, tmp_path, number)
            case = config.read_text()
        else:
            config = ROOT / f"configs/{(name := draw.choice(CONFIGS))}.py"
            options = [draw.choice(OPTIONS)(draw, places[name])]
            case = f"{name} {options}"
        work_dir = tmp_path / f"run_{number}"
        dry, start = (call(config, scenes, work_dir, options, dry) for dry in (True, False))
        refused += start.status != 0
        if problem := problem_of(start, dry):
            ends = [" / ".join(ended.output.strip().splitlines()[-3:])[-600:] for ended in (start, dry)]
            found.append(f"{case}\n  {problem}\n  start: {ends[0]}\n  dry: {ends[1]}")
    assert not found, "\n".join(found)
    assert refused > EACH / 2

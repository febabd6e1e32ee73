"""Chooses each arm's schedule on validation scenes: the same grid and the same rule for all."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from pseudo_gumbel.experiment.arms import GROUPS, RATES, SCHEDULES
from pseudo_gumbel.experiment.results import Results
from sa2va_native.errors import ConfigError
from sa2va_native.files.atomic import atomic_write

SPLITS = ("val", "val_heldout")
#: Below it, captions are no sentences any more.
GRAMMAR = 0.97


def score(results: Results, base: str, arm: str) -> tuple[bool, float] | None:
    """What the choice goes by: grammar kept, then the mean of cycle IoU and referring cIoU over both splits.

    None if a figure is missing.
    """
    means = {
        figure: [results.interval(base, arm, split, figure) for split in SPLITS]
        for figure in ("caption_grammar", "cycle_iou", "refer_ciou")
    }
    if any(one is None for values in means.values() for one in values):
        return None
    figures = {figure: statistics.fmean(one.mean for one in values if one) for figure, values in means.items()}
    return figures["caption_grammar"] >= GRAMMAR, (figures["cycle_iou"] + figures["refer_ciou"]) / 2


def choose(results: Results) -> dict[str, dict[str, dict[str, Any]]]:
    """base -> arm -> the best of its whole grid: ``lr``, ``shape``, ``score``, ``grammar_kept``.

    An arm whose grid is not complete is left out, as it would have had a smaller budget.
    """
    chosen: dict[str, dict[str, dict[str, Any]]] = {}
    for base in results.bases():
        for arm in GROUPS["core"]:
            grid = {
                (lr, shape): score(results, base, f"{arm.name}/lr_{lr:g}_{shape}")
                for lr in RATES
                for shape in SCHEDULES
            }
            scored = {point: value for point, value in grid.items() if value is not None}
            if len(scored) == len(grid):
                (lr, shape), (kept, value) = max(scored.items(), key=lambda item: item[1])
                entry = {"lr": lr, "shape": shape, "score": round(value, 4), "grammar_kept": kept}
                chosen.setdefault(base, {})[arm.name] = entry
    return chosen


def freeze(file: Path, chosen: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """Writes the choice down, once; returns a line for each new entry.

    Raises:
        ConfigError: nothing to choose, or an earlier choice of the same arm differs.
    """
    if not chosen:
        raise ConfigError("--choose: no arm has its whole grid yet. Run --group grid first.")
    old = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    lines = []
    for base, arms in chosen.items():
        for arm, new in arms.items():
            before = old.setdefault(base, {}).setdefault(arm, new)
            if (before["lr"], before["shape"]) != (new["lr"], new["shape"]):
                raise ConfigError(
                    f"--choose: {file} already has {before} for {arm} on the {base} base, and the grid now says {new}. "
                    "A choice is made once, before a test split is read; delete the file to start over."
                )
            lines.append(f"{base}/{arm}: lr {new['lr']:g}, {new['shape']} (validation score {new['score']:.3f})")
    with atomic_write(file) as unfinished:
        unfinished.write_text(json.dumps(old, indent=2) + "\n", encoding="utf-8")
    return lines

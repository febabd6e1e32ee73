"""The figures of all runs, from their result files or from the published file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudo_gumbel.experiment.arms import GROUPS, Arm, find
from pseudo_gumbel.experiment.runs import RESULT, Run
from sa2va_native.errors import DataError
from sa2va_native.evaluation.seed_intervals import Interval, interval, paired
from sa2va_native.files.atomic import atomic_write

#: Digits that are published.
_DIGITS = 4
_KEPT = (
    *("arm", "base", "seed", "steps", "definition", "controls", "seconds", "metrics"),
    *("versions", "revision", "command"),
)

#: Titles of the figures, by key of the metrics.
FIGURES = {
    "caption_colour": "colour",
    "cycle_iou": "cycle IoU",
    "cycle_stranger": "stranger",
    "cycle_code": "code",
    "refer_ciou": "referring cIoU",
    "caption_grammar": "grammar",
    "refer_giou": "referring gIoU",
    "cycle_floor": "floor",
    "cycle_ceiling": "ceiling",
    "caption_shape": "shape",
    "caption_size": "size",
    "caption_texture": "texture",
    "caption_different": "distinct captions",
    "caption_absent_colour": "absent colour",
}


@dataclass(frozen=True)
class Results:
    """All runs, found by base, arm, split and figure.

    Args:
        runs: results of :meth:`pseudo_gumbel.experiment.runs.Run.perform`.
    """

    runs: Sequence[Mapping[str, Any]]
    _found: dict[tuple[str, str], list[Mapping[str, Any]]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for run in self.runs:
            self._found.setdefault((run["base"], run["arm"]), []).append(run)

    def bases(self) -> list[str]:
        return list(dict.fromkeys(run["base"] for run in self.runs))

    def of(self, base: str, arm: str) -> list[Mapping[str, Any]]:
        return self._found.get((base, arm), [])

    def arms(self, base: str, group: str, split: str) -> list[Arm]:
        """Those of a group that have been evaluated, in the tables' order."""
        return [arm for arm in GROUPS[group] if any(run["metrics"].get(split) for run in self.of(base, arm.name))]

    def by_seed(self, base: str, arm: str, split: str, figure: str) -> dict[int, float]:
        """A figure of each seed that measured it."""
        runs = self.of(base, arm)
        return {
            run["seed"]: run["metrics"][split][figure]
            for run in runs
            if run["metrics"].get(split, {}).get(figure) is not None
        }

    def interval(self, base: str, arm: str, split: str, figure: str) -> Interval | None:
        """Its mean over seeds; None if nobody measured it."""
        values = self.by_seed(base, arm, split, figure)
        return interval(list(values.values())) if values else None

    def difference(self, base: str, arm: str, other: str, split: str, figure: str) -> Interval | None:
        """The arm minus another, seed by seed; None if they share none."""
        return paired(self.by_seed(base, arm, split, figure), self.by_seed(base, other, split, figure))

    def seconds(self, base: str, arm: str, which: str = "train_cpu") -> Interval | None:
        values = [run["seconds"][which] for run in self.of(base, arm) if which in run["seconds"]]
        return interval(values) if values else None


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """The result files below a folder that belong to arms as they are today, by :attr:`Run.definition`."""
    known = {arm.name: arm for arm in find(None, GROUPS)}
    found = []
    for file in sorted(folder.rglob(RESULT)):
        run = json.loads(file.read_text(encoding="utf-8"))
        arm = known.get(run["arm"])
        if arm and run["definition"] == Run(arm, run["base"], run["seed"], (), folder).definition:
            found.append({key: run[key] for key in _KEPT if key in run})
    return found


def read_published(file: Path) -> list[dict[str, Any]]:
    """The runs of a published file; none if there is no file.

    Raises:
        DataError: it cannot be read.
    """
    if not file.is_file():
        return []
    try:
        return json.loads(file.read_text(encoding="utf-8"))["runs"]
    except (ValueError, KeyError) as error:
        raise DataError(f"{file}: not a file of results ({error}). Take the one of the repository.") from error


def publish_runs(file: Path, runs: Iterable[Mapping[str, Any]]) -> None:
    """Writes runs to one file, a line each, with figures of four digits."""
    lines = ",\n".join(json.dumps({**run, "metrics": _rounded(run["metrics"])}) for run in runs)
    with atomic_write(file) as unfinished:
        unfinished.write_text(f'{{"runs": [\n{lines}\n]}}\n', encoding="utf-8")


def merged(*sources: Iterable[Mapping[str, Any]]) -> Results:
    """The runs of all sources in the order of arms, bases and seeds; of equal ones the last counts."""
    latest = {(run["arm"], run["base"], run["seed"]): run for source in sources for run in source}
    order = {arm.name: place for place, arm in enumerate(find(None, GROUPS))}
    return Results(
        sorted(
            latest.values(), key=lambda run: (order.get(run["arm"], len(order)), run["base"] != "shipped", run["seed"])
        )
    )


def _rounded(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {
        split: {name: round(value, _DIGITS) for name, value in figures.items()} for split, figures in metrics.items()
    }

"""The figures of a report: every run's value with its interval, and how far it is from the first run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sa2va_native.errors import DataError
from sa2va_native.evaluation.bootstrap import RESAMPLES
from sa2va_native.evaluation.figure_texts import MAIN, is_by_size, place
from sa2va_native.evaluation.figures import verdict
from sa2va_native.evaluation.run_comparison import Compared, Difference, compare_runs
from sa2va_native.evaluation.seed_intervals import Interval, interval, paired

#: Of each run: name of each seed -> its predictions.
Seeds = Mapping[str, Mapping[str, Path]]


class Cell(NamedTuple):
    """A run's value; NaN for bounds that are not known."""

    value: float
    low: float  #: of the 95 % interval
    high: float


class Line(NamedTuple):
    """One figure of one source."""

    source: str
    figure: str
    samples: int
    pictures: int
    cells: dict[str, Cell]  #: of each run
    changes: dict[str, Difference]  #: of each run but the first


def report_lines(runs: Seeds, resamples: int = RESAMPLES) -> list[Line]:
    """Every figure that all runs have, in the order of a report, source by source.

    Of a run of one seed intervals are those of :func:`compare_runs`, over pictures. Of one of several seeds they are
    over seeds (Student's t); its differences are those of the same seeds, or of each seed from a first run that has
    only one.

    Raises:
        DataError: see :func:`compare_runs`; two runs of several seeds that are not the same.
    """
    first, *others = runs
    for other in others:
        if len(runs[first]) > 1 and len({*runs[first]} & {*runs[other]}) < 2:
            raise DataError(
                f"{first} has the seeds {', '.join(runs[first])}, {other} has {', '.join(runs[other]) or 'one run'}: "
                "differences are those of the same seeds. Give two seeds or more of both, or one run as the first."
            )
    paths = {_key(run, seed): path for run, seeds in runs.items() for seed, path in seeds.items()}
    lines = [_line(row, runs) for row in compare_runs(paths, resamples)]
    ordered = []
    for source in dict.fromkeys(line.source for line in lines):
        own = [line for line in lines if line.source == source]
        ordered += _with_code(sorted(own, key=lambda line: place(line.figure)))
    return ordered


def headline(lines: Sequence[Line], run: str, first: str) -> str:
    """What became better and what worse in one run, in one line."""
    if run == first:
        said = [f"{line.figure} {_span(line.cells[run])} on {line.source}" for line in lines if line.figure in MAIN]
        return f"{run}: {'; '.join(said)}"
    changes = [(line, line.changes[run]) for line in lines if run in line.changes]
    parts = []
    for word in ("better", "worse"):
        found = [(line, change) for line, change in changes if change.verdict == word]
        whole = [one for one in found if not is_by_size(one[0].figure)]
        most = max(whole or found, key=lambda one: abs(one[1].value), default=None)
        told = f", most of all {most[0].figure} on {most[0].source} ({most[1].value:+.3f})" if most else ""
        parts.append(f"{word} in {len(found)} of {len(changes)} figures{told}")
    return f"{run} against {first}: {'; '.join(parts)}."


def forgotten(lines: Sequence[Line], run: str) -> list[Line]:
    """The figures in which a run is worse than the first one: the whole interval of the difference is on that side."""
    return [line for line in lines if run in line.changes and line.changes[run].verdict == "worse"]


def _key(run: str, seed: str) -> str:
    return f"{run}\n{seed}"


def _line(row: Compared, runs: Seeds) -> Line:
    first, *others = runs
    values = {run: {seed: row.values[_key(run, seed)] for seed in seeds} for run, seeds in runs.items()}
    cells = {}
    for run, seeds in runs.items():
        if len(seeds) > 1:
            over_seeds = interval(list(values[run].values()))
            cells[run] = Cell(over_seeds.mean, over_seeds.low, over_seeds.high)
        else:
            (key,) = (_key(run, seed) for seed in seeds)
            cells[run] = Cell(row.values[key], *row.intervals[key])
    changes = {}
    for run in others:
        if len(runs[first]) == len(runs[run]) == 1:
            changes[run] = row.differences[_key(run, next(iter(runs[run])))]
        else:
            changes[run] = _over_seeds(row.figure, values[run], values[first])
    return Line(row.source, row.figure, row.samples, row.pictures, cells, changes)


def _over_seeds(figure: str, ours: Mapping[str, float], theirs: Mapping[str, float]) -> Difference:
    if len(theirs) == 1:
        (only,) = theirs.values()
        theirs = dict.fromkeys(ours, only)
    difference: Interval | None = paired(ours, theirs)
    assert difference is not None  # report_lines has seen to that
    return Difference(
        difference.mean, difference.low, difference.high, verdict(figure, difference.low, difference.high)
    )


def _with_code(lines: list[Line]) -> list[Line]:
    """With the line of the private code, own reader minus stranger, after that of the stranger."""
    by_figure = {line.figure: line for line in lines}
    if "cycle_stranger" not in by_figure:
        return lines
    own, stranger = by_figure["cycle_iou"], by_figure["cycle_stranger"]
    code = {run: Cell(own.cells[run].value - stranger.cells[run].value, math.nan, math.nan) for run in own.cells}
    after = lines.index(stranger) + 1
    return [*lines[:after], own._replace(figure="cycle_code", cells=code, changes={}), *lines[after:]]


def _span(cell: Cell) -> str:
    return f"{cell.value:.3f} [{cell.low:.3f}, {cell.high:.3f}]"

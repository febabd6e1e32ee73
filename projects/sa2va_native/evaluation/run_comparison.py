"""Runs against each other on the same samples: every figure, and its difference with a 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sa2va_native.errors import DataError
from sa2va_native.evaluation.bootstrap import RESAMPLES, interval, resampled
from sa2va_native.evaluation.figures import terms_of, verdict
from sa2va_native.evaluation.predictions import read_predictions
from sa2va_native.evaluation.regions import Region, by_region, region_of
from sa2va_native.evaluation.terms import Terms, caption_terms, ratio


class Key(NamedTuple):
    """Which sample: the same in every run."""

    source: str
    kind: str
    name: str


class Scored(NamedTuple):
    """What a sample adds to each figure."""

    picture: str
    terms: Terms


class Difference(NamedTuple):
    """How far a run is from the first one."""

    value: float
    low: float  #: of the 95 % interval
    high: float
    verdict: str  #: see :func:`sa2va_native.evaluation.figures.verdict`


class Compared(NamedTuple):
    """One figure of one source."""

    source: str
    figure: str
    samples: int
    pictures: int
    values: dict[str, float]  #: of each run
    intervals: dict[str, tuple[float, float]]  #: of each run, 95 %
    differences: dict[str, Difference]  #: of each run but the first


def compare_runs(paths: Mapping[str, Path], resamples: int = RESAMPLES, seed: int = 0) -> list[Compared]:
    """Every figure that all runs have, with the paired differences from the first run.

    Intervals are of a bootstrap over pictures. They hold the noise of the test set alone; that of another training
    seed comes on top.

    Args:
        paths: name of each run -> its predictions; the first is what the others are compared with.
        resamples, seed: see :func:`resampled`.

    Raises:
        DataError: a file that cannot be read, a sample that is there twice, or runs on different samples.
    """
    runs = {run: read_scores(path) for run, path in paths.items()}
    first, *others = runs
    for other in others:
        _require_same(paths[first], runs[first], paths[other], runs[other])
    groups: dict[tuple[str, str], list[Key]] = {}
    for key in runs[first]:
        groups.setdefault((key.source, key.kind), []).append(key)
    rows = []
    for (source, _), keys in groups.items():
        for figure in dict.fromkeys(name for key in keys for name in runs[first][key].terms):
            covered = [[key for key in keys if figure in scores[key].terms] for scores in runs.values()]
            if all(one == covered[0] for one in covered):
                tables = {run: [scores[key].terms[figure] for key in covered[0]] for run, scores in runs.items()}
                pictures = [runs[first][key].picture for key in covered[0]]
                rows.append(_row(source, figure, tables, pictures, resamples, seed))
    return rows


def read_scores(path: Path) -> dict[Key, Scored]:
    """Terms of every sample of a file; captions that are compared with human texts count once a region.

    Raises:
        DataError: see :func:`read_predictions`; a sample is there twice.
    """
    scores: dict[Key, Scored] = {}
    captioned: dict[str, list[Region]] = {}
    pictures: dict[str, str] = {}
    for sample in read_predictions(path):
        if sample["kind"] == "caption":
            region = region_of(sample)
            captioned.setdefault(sample["source"], []).append(region)
            pictures[region.name] = sample["picture_id"]
            continue
        key = Key(sample["source"], sample["kind"], sample["sample_id"])
        if key in scores:
            raise DataError(
                f"{path}: {key.name} of source {key.source!r} is there twice. Give the sources of the config different "
                "names, and each evaluation a file of its own."
            )
        scores[key] = Scored(sample["picture_id"], terms_of(sample))
    for source, regions in captioned.items():
        for region in by_region(regions):
            scores[Key(source, "caption", region.name)] = Scored(pictures[region.name], caption_terms(region))
    return scores


def as_text(rows: Sequence[Compared]) -> str:
    """A table of the rows for each source."""
    return "\n\n".join(
        _table(source, [row for row in rows if row.source == source])
        for source in dict.fromkeys(row.source for row in rows)
    )


def forgetting(rows: Sequence[Compared]) -> dict[str, list[str]]:
    """Of each run but the first the figures that it is worse in: the whole interval of the difference says so.

    Returns:
        run -> ``<figure> on <source>``, in the order of the rows.
    """
    others = rows[0].differences if rows else ()
    return {
        run: [f"{row.figure} on {row.source}" for row in rows if row.differences[run].verdict == "worse"]
        for run in others
    }


def _table(source: str, rows: Sequence[Compared]) -> str:
    first, *others = rows[0].values
    width = max(len(name) for name in (source, *(row.figure for row in rows)))
    columns = {run: max(8, len(run)) for run in rows[0].values}
    titles = [f"{source:<{width}}  samples  pictures  {first:>{columns[first]}}"]
    titles += [f"{run:>{columns[run]}}  {'difference':<33}" for run in others]
    lines = ["  ".join(titles).rstrip()]
    for row in rows:
        cells = [
            f"{row.figure:<{width}}  {row.samples:>7}  {row.pictures:>8}  {row.values[first]:>{columns[first]}.4f}"
        ]
        for run, (value, low, high, said) in row.differences.items():
            change = f"{value:+.4f} [{low:+.4f}, {high:+.4f}] {said}"
            cells.append(f"{row.values[run]:>{columns[run]}.4f}  {change:<33}")
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _row(
    source: str,
    figure: str,
    terms: Mapping[str, Sequence[tuple[float, float]]],
    pictures: Sequence[str],
    resamples: int,
    seed: int,
) -> Compared:
    first, *others = terms
    values = {run: ratio(of_run) for run, of_run in terms.items()}
    tables = [np.array(of_run) for of_run in terms.values()]
    drawn = dict(zip(terms, resampled(tables, pictures, resamples, seed), strict=True))
    intervals = {run: interval(draws) for run, draws in drawn.items()}
    differences = {}
    for run in others:
        low, high = interval(drawn[run] - drawn[first])
        differences[run] = Difference(values[run] - values[first], low, high, verdict(figure, low, high))
    return Compared(source, figure, len(pictures), len(set(pictures)), values, intervals, differences)


def _require_same(first: Path, ours: Mapping[Key, Scored], other: Path, theirs: Mapping[Key, Scored]) -> None:
    unmatched = (first, other, ours.keys() - theirs.keys()), (other, first, theirs.keys() - ours.keys())
    for has, lacks, missing in unmatched:
        if missing:
            source, kind, name = min(missing)
            raise DataError(
                f"{lacks} lacks {len(missing)} samples of {has}, such as {name} of the '{kind}' source {source!r}. "
                "Evaluate both on the same data."
            )

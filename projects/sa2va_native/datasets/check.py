"""Reads the samples of a data set and summarises what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sa2va_native.datasets.advice import advice_for
from sa2va_native.datasets.mixture import Adapter
from sa2va_native.datasets.reading.files import namesake
from sa2va_native.datasets.reading.texts import unknown_note
from sa2va_native.datasets.region_grid import POOLINGS, Pooling, region_grid
from sa2va_native.errors import BadSample, printable
from sa2va_native.parallel.ordered_map import cores, ordered_map
from sa2va_native.structures import largest_frame

_EXAMPLES = 3
_CROWDS = (
    " (an annotation tool such as CVAT marks every brush mask as a crowd: include_crowd=True of the adapter, or "
    "pseudo-gumbel convert-data coco FILE --include-crowd, takes them)"
)


class Region(NamedTuple):
    """What decides whether an object's region is large enough to be described."""

    grid_size: int = 16  #: cells a side
    pooling: Pooling | None = None  #: the one used in training; None if unknown
    min_share: float = 0.05  #: see ``region_grid``
    min_cells: int = 1  #: fewest cells that are enough


@dataclass
class Problem:
    """Bad samples of one kind."""

    remedy: str
    count: int = 0
    examples: list[str] = field(default_factory=list)  #: the first few, as file: record: reason


class Seen(NamedTuple):
    """What is counted of a sound sample."""

    without_text: bool
    without_target: bool
    two_frames: bool
    lost: list[str]  #: poolings that leave its region too few cells
    strays: list[str]  #: see ``Sample.strays``
    unknown: list[str]  #: words of its text that the tokenizer does not know


@dataclass
class SetReport:
    """The findings for one set."""

    looked_at: int = 0
    problems: dict[str, Problem] = field(default_factory=dict)  #: by title
    notes: list[str] = field(default_factory=list)  #: problems that no single sample shows
    strays: int = 0  #: pieces of masks that were left out
    stray_examples: list[str] = field(default_factory=list)  #: the first few, as sample: reason
    without_text: int = 0
    without_target: int = 0  #: expressions that mean nothing in their picture
    two_frames: int = 0
    unknown_words: Counter[str] = field(default_factory=Counter)  #: that the tokenizer does not know
    with_unknown_words: int = 0  #: texts
    too_few_cells: dict[str, int] = field(default_factory=lambda: dict.fromkeys(POOLINGS, 0))  #: objects, by pooling

    @property
    def bad(self) -> int:
        """Bad samples of all kinds."""
        return sum(problem.count for problem in self.problems.values())


def spread(length: int, limit: int | None) -> Sequence[int]:
    """At most ``limit`` indices, spread evenly over the set."""
    if limit is None or limit >= length:
        return range(length)
    return np.linspace(0, length - 1, limit).round().astype(int).tolist()


def check_set(
    dataset: Adapter,
    indices: Iterable[int],
    region: Region,
    on_bad: Callable[[BadSample], None] = lambda bad: None,
    find_unknown: Callable[[str], list[str]] | None = None,
) -> SetReport:
    """Reads samples and summarises them.

    Args:
        dataset: any adapter.
        indices: which samples, in which order.
        region: settings with which the poolings are compared.
        on_bad: called with each bad sample, in order.
        find_unknown: finds the words of a text that the tokenizer does not know; None if there is no tokenizer, or it
            knows all.
    """
    near = _pictures_of(dataset)
    report = SetReport(notes=[*(dataset.check_all() if hasattr(dataset, "check_all") else []), *_left_out(dataset)])

    def look(index: int) -> BadSample | Seen:
        try:
            sample = largest_frame(dataset[index])
        except BadSample as error:
            return error
        cells = {name: region_grid(sample.mask, region.grid_size, name, region.min_share).sum() for name in POOLINGS}
        target = bool(sample.mask.any())
        lost: list[str] = [name for name, count in cells.items() if target and count < region.min_cells]
        strays = [printable(f"{sample.sample_id}: {stray}") for stray in sample.strays]
        unknown = find_unknown(sample.text) if find_unknown and sample.text else []
        return Seen(sample.text is None, not target, sample.image2 is not None, lost, strays, unknown)

    threads = min(8, cores())  # Pillow releases the GIL while decoding
    with ThreadPoolExecutor(threads) as pool:
        for seen in ordered_map(pool, look, indices, ahead=16 * threads):
            report.looked_at += 1
            if isinstance(seen, BadSample):
                _count(report, seen, near)
                on_bad(seen)
                continue
            report.without_text += seen.without_text
            report.without_target += seen.without_target
            report.two_frames += seen.two_frames
            report.unknown_words.update(seen.unknown)
            report.with_unknown_words += bool(seen.unknown)
            report.strays += len(seen.strays)
            report.stray_examples += seen.strays[: _EXAMPLES - len(report.stray_examples)]
            for name in seen.lost:
                report.too_few_cells[name] += 1
    return report


def _left_out(dataset: Adapter) -> list[str]:
    """What the adapter's settings leave out of its file or index."""
    dropped = getattr(dataset, "dropped", None) or getattr(getattr(dataset, "index", None), "dropped", {})
    return [
        f"left out: {count:,} {reason}{_CROWDS if reason == 'crowds' else ''}"
        for reason, count in sorted(dropped.items())
    ]


def _pictures_of(dataset: Adapter) -> Path | None:
    """The folder of a set's pictures, as its adapter calls it; None if it has none."""
    places = [(dataset, "image_root"), (getattr(dataset, "file", None), "image_root"), (dataset, "root")]
    return next(filter(None, (getattr(owner, name, None) for owner, name in places)), None)


def _count(report: SetReport, bad: BadSample, near: Path | None) -> None:
    advice = advice_for(bad.reason)
    problem = report.problems.setdefault(advice.title, Problem(advice.remedy))
    problem.count += 1
    if len(problem.examples) < _EXAMPLES:
        there = namesake(bad.path, near) if near and bad.reason.startswith("missing") else None
        problem.examples.append(f"{bad} (a file of that name lies at {printable(str(there))})" if there else str(bad))


def format_report(report: SetReport, total: int, region: Region) -> str:
    """The report as text: problems in the order of their number of samples, then what each pooling would drop."""
    good = report.looked_at - report.bad
    lines = [f"{report.looked_at:,} of {total:,} samples checked, {report.bad:,} bad"]
    for title, problem in sorted(report.problems.items(), key=lambda item: -item[1].count):
        lines += [f"  {problem.count:,} x {title}", f"      fix: {problem.remedy}"]
        lines += [f"      {example}" for example in problem.examples]
        if problem.count > len(problem.examples):
            lines.append(f"      and {problem.count - len(problem.examples):,} more")
    lines += [f"  note: {printable(note)}" for note in report.notes]
    if report.strays:
        lines += [f"  note: {report.strays:,} pieces of masks were left out; the rest of these masks is used"]
        lines += [f"      {example}" for example in report.stray_examples]
    if report.unknown_words:
        with_text = good - report.without_text
        lines.append(f"  note: {unknown_note(report.unknown_words, report.with_unknown_words, with_text)}")
    if good:
        none = f", without a target {report.without_target:,}" if report.without_target else ""
        lines.append(f"  with text {good - report.without_text:,}, with two frames {report.two_frames:,}{none}")
        few = "without a region cell" if region.min_cells == 1 else f"with fewer than {region.min_cells} region cells"
        lost = ", ".join(
            f"{name} {count:,} ({count / good:.1%}{', the configured one' if name == region.pooling else ''})"
            for name, count in report.too_few_cells.items()
        )
        lines.append(f"  objects {few} of {region.grid_size} x {region.grid_size}, by pooling: {lost}")
    return "\n".join(lines)

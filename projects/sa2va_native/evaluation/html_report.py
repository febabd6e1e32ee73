"""A report of any number of runs as one page that needs nothing else: no network, no script, no file beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sa2va_native.errors import DataError
from sa2va_native.evaluation.bootstrap import RESAMPLES
from sa2va_native.evaluation.drawing import PREDICTED, TRUE
from sa2va_native.evaluation.figure_texts import MAIN, SAYS, is_by_size
from sa2va_native.evaluation.report_curves import colour, draw_curves
from sa2va_native.evaluation.report_lines import Line, forgotten, headline, report_lines
from sa2va_native.evaluation.report_panels import draw_panels
from sa2va_native.evaluation.report_runs import ReportedRun
from sa2va_native.evaluation.scalar_logs import read_scalars
from sa2va_native.files.atomic import atomic_write

_SIGNS = {"better": "▲", "worse": "▼", "other": "◆", "": "·"}
_KINDS = {"refer": "from an expression to a mask", "cycle": "from a mask to a caption and back to a mask"}


def write_html(
    file: Path, runs: Mapping[str, ReportedRun], title: str = "Evaluation", resamples: int = RESAMPLES
) -> list[str]:
    """Writes the page.

    Figures are those of :func:`report_lines`, curves are of what each run's folder logged, and panels show the first
    seed's samples. Whatever text comes from data is escaped.

    Args:
        file: to write.
        runs: by name; the first is what the others are compared with.
        title: of the page.
        resamples: draws of pictures.

    Returns:
        the verdict on each run but the first, or on the only one, a line each.

    Raises:
        DataError: see :func:`report_lines`; predictions that no figure is made of.
    """
    lines = report_lines({run: parts.seeds for run, parts in runs.items()}, resamples)
    if not lines:
        raise DataError(f"no figure covers what {', '.join(runs)} hold. Are their predictions empty?")
    first, *others = runs
    headlines = [headline(lines, run, first) for run in others or [first]]
    logs = {run: read_scalars(parts.folder) if parts.folder else {} for run, parts in runs.items()}
    page = _template().render(
        title=title,
        runs=list(runs),
        first_of_several=first if others else "",
        seeds={run: list(parts.seeds) for run, parts in runs.items() if len(parts.seeds) > 1},
        headlines=headlines,
        forgotten={run: forgotten(lines, run) for run in others},
        main=[line for line in lines if line.figure in MAIN],
        sources={source: _of_source(lines, source) for source in dict.fromkeys(line.source for line in lines)},
        charts=draw_curves(logs),
        colours={run: colour(place) for place, run in enumerate(runs) if logs[run]},
        panels=draw_panels({run: next(iter(parts.seeds.values())) for run, parts in runs.items()}),
        says=SAYS,
        signs=_SIGNS,
        kinds=_KINDS,
        number=_number,
        found_colour=PREDICTED,
        true_colour=TRUE,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as unfinished:
        unfinished.write_text(page, encoding="utf-8", errors="backslashreplace")  # half a surrogate pair of a caption
    return headlines


def _template() -> Any:
    loader = PackageLoader("sa2va_native.evaluation", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("report.html.jinja")


def _of_source(lines: Sequence[Line], source: str) -> dict[str, Any]:
    own = [line for line in lines if line.source == source]
    return {
        "samples": max(line.samples for line in own),
        "pictures": max(line.pictures for line in own),
        "figures": [line for line in own if not is_by_size(line.figure)],
        "by_size": [line for line in own if is_by_size(line.figure)],
    }


def _number(figure: str, value: float) -> str:
    return f"{value:.1f}" if figure == "caption_length" else f"{value:.3f}"

"""Curves of what runs logged, as pictures of a page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sa2va_native.evaluation.scalar_logs import Curves

#: Colours that colour-blind readers can distinguish (Okabe and Ito), of the runs in their order.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8c6d31")
#: What is drawn first. Time, learning rates and gradient norms are for the diagnosis of one run, not for a comparison.
_FIRST = re.compile(r"loss$|loss_")
_NOT_DRAWN = re.compile(r"(base_)?lr$|(data_)?time$|memory$|iter$|step$|epoch$|grad_norm|ema/")


class Chart(NamedTuple):
    """One logged value of all runs that have it."""

    name: str
    picture: str  #: data URI of an SVG


def draw_curves(logs: Mapping[str, Curves]) -> list[Chart]:
    """A chart for each logged value: losses first, then what the run was evaluated on and what hooks watch.

    Args:
        logs: by run, in the order of the colours; a run may have none.
    """
    names = {name for curves in logs.values() for name in curves if not _NOT_DRAWN.match(name)}
    ordered = sorted(names, key=lambda name: (not _FIRST.match(name), name))
    return [Chart(name, _draw([curves.get(name, []) for curves in logs.values()])) for name in ordered]


def colour(place: int) -> str:
    """Of the run at a place, 0 or more; they begin anew after the last one."""
    return COLOURS[place % len(COLOURS)]


def _draw(curves: Sequence[Sequence[tuple[int, float]]]) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    picture = Figure(figsize=(4, 2.3), layout="constrained")
    axes = picture.add_subplot()
    for place, points in enumerate(curves):
        if points:
            axes.plot(*zip(*points, strict=True), color=colour(place), marker="." if len(points) < 3 else "", lw=1.6)
    axes.grid(alpha=0.25)
    axes.set_xlabel("step", fontsize=8)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report", "font.family": "sans-serif"}):
        FigureCanvasSVG(picture).print_svg(file, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"

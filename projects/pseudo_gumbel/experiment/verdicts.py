"""Whether the experiment's targets are met, from the figures alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pseudo_gumbel.experiment.results import FIGURES, Results
from sa2va_native.evaluation.seed_intervals import Interval, apart

TEST_SPLITS = {"test": "held-out scenes", "test_heldout": "held-out combinations"}
#: Labelled only: at its own schedule, at that of word trials, and with its loss taken evenly over the mask.
CONTROLS = {
    "labelled": "labelled only",
    "labelled_recipe": "labelled only at the recipe's schedule",
    "labelled_uniform": "labelled only with its loss on uniform points",
}
SPECIFIED = "specified"
#: Figures of the differences, the plots and the check.
COMPARED = ("caption_colour", "cycle_iou", "refer_ciou")
#: Arms that should meet the targets, and the bases on which they should.
CLAIMS = {
    "word_trials": ("shipped", "partner"),
    "word_trials_refer_back": ("shipped", "partner"),
    "word_trials_masks": ("shipped", "partner"),
    "soft_gumbel": ("partner",),
    "soft_gumbel_masks": ("partner",),
}
#: The arm that should raise referring, and what takes as many steps without captions that lead back.
REFERRING = "word_trials_masks"
WITHOUT = {"labelled": "labelled only", "self_training": "unfiltered self-training"}

NOT_MEASURED = "not measured"


class Verdict(NamedTuple):
    """One target, for one arm, base and split."""

    met: bool | None  #: None: not measured, or in a single seed
    text: str

    @property
    def measured(self) -> bool:
        """Whether there is a figure."""
        return not self.text.endswith(NOT_MEASURED)


class _Gain(NamedTuple):
    figure: str
    target: str
    met: Callable[[Interval], bool]


#: Differences from labelled only, 0..1.
_GAINS = (
    _Gain("caption_colour", "at least +45 points", lambda gain: gain.mean >= 0.45),
    _Gain("cycle_iou", "at least +25 points", lambda gain: gain.mean >= 0.25),
    _Gain(
        "refer_ciou",
        "not lower in the mean, interval above -2 points",
        lambda gain: gain.mean >= 0 and gain.low > -0.02,
    ),
)


def verdicts(results: Results, base: str, split: str, arm: str) -> list[Verdict]:
    """All targets of an arm on one base and split."""
    said = []
    for control, title in _controls(results, base).items():
        for figure, target, met in _GAINS:
            gain = results.difference(base, arm, control, split, figure)
            said.append(_verdict(f"{FIGURES[figure]} over {title}, {target}", gain, met, points))
    for figure, target, passes in (
        ("caption_grammar", "at least .97", lambda value: value.mean >= 0.97),
        ("cycle_code", "own reader minus stranger, at most 5 points", lambda value: value.mean <= 0.05),
    ):
        said.append(_verdict(f"{FIGURES[figure]}: {target}", results.interval(base, arm, split, figure), passes, plain))
    for figure in ("caption_colour", "cycle_iou"):
        ours = results.interval(base, arm, split, figure)
        theirs = results.interval(base, SPECIFIED, split, figure)
        target = f"{FIGURES[figure]} above the specified cycle, intervals apart"
        if ours is None or theirs is None:
            said.append(Verdict(None, f"{target}: {NOT_MEASURED}"))
        elif 1 in (ours.n, theirs.n):
            said.append(Verdict(None, f"{target}: {plain(ours)} against {plain(theirs)}, one of them a single seed"))
        else:
            above = apart(ours, theirs) and ours.mean > theirs.mean
            said.append(Verdict(above, f"{target}: {plain(ours)} against {plain(theirs)}"))
    return said


def _controls(results: Results, base: str) -> dict[str, str]:
    """What gains are held against, with what it is called; where a grid was run, the best of it too."""
    best = f"labelled/best_{base}"
    chosen = {best: "labelled only at the best schedule of its grid"} if results.of(base, best) else {}
    return {**CONTROLS, **chosen}


def referring_verdicts(results: Results, base: str) -> list[Verdict]:
    """Whether captions that lead back raise referring on held-out combinations by three points."""
    figure, split = "refer_ciou", "test_heldout"
    return [
        _verdict(
            f"{FIGURES[figure]}, {TEST_SPLITS[split]}, over {title} of as many steps, at least +3 points",
            results.difference(base, REFERRING, other, split, figure),
            lambda gain: gain.mean >= 0.03,
            points,
        )
        for other, title in WITHOUT.items()
    ]


def _verdict(
    target: str, value: Interval | None, met: Callable[[Interval], bool], shown: Callable[[Interval], str]
) -> Verdict:
    if value is None:
        return Verdict(None, f"{target}: {NOT_MEASURED}")
    if value.n == 1:
        return Verdict(None, f"{target}: {shown(value)} in a single seed")
    return Verdict(met(value), f"{target}: {shown(value)}")


def plain(value: Interval | None) -> str:
    """A mean 0..1 with its interval: ``.552 ± .003``; ``-`` if it was not measured."""
    if value is None:
        return "-"
    digits = 3 if abs(value.mean) < 10 else 0
    if value.half is None:
        return _short(value.mean, digits)
    return f"{_short(value.mean, digits)} ± {_short(value.half, digits)}"


def points(value: Interval | None) -> str:
    """A difference in points with its interval: ``+53.1 [+46.0, +60.2]``; ``-`` if it was not measured."""
    if value is None:
        return "-"
    mean = f"{100 * value.mean:+.1f}"
    return mean if value.half is None else f"{mean} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"


def seconds(value: Interval | None) -> str:
    """A time with its interval, in whole seconds: ``131 ± 4``; ``-`` if it was not measured."""
    if value is None:
        return "-"
    return f"{value.mean:.0f}" if value.half is None else f"{value.mean:.0f} ± {value.half:.0f}"


def _short(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text

"""Whether runs made again agree with the published ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pseudo_gumbel.experiment.results import FIGURES, Results
from pseudo_gumbel.experiment.verdicts import COMPARED, TEST_SPLITS

ARMS = ("labelled", "specified", "word_trials", "word_trials_masks", "soft_gumbel")


class Checked(NamedTuple):
    """One figure of one run made again."""

    inside: bool
    text: str


def check(again: Results, published: Results) -> list[Checked]:
    """Each headline figure of each run, against where one further run of its arm should lie.

    That is the 95 % prediction interval over the published seeds, in the mean 1 of 20 lies outside; the interval of
    the mean, which the tables give, is narrower and holds no single run. Arms with a single published seed have none.
    """
    lines = []
    for run in again.runs:
        for split in TEST_SPLITS:
            for figure in COMPARED:
                value = run["metrics"].get(split, {}).get(figure)
                known = published.interval(run["base"], run["arm"], split, figure)
                if value is None or known is None or known.n < 2:
                    continue
                low, high = known.of_one_more()
                same = published.by_seed(run["base"], run["arm"], split, figure).get(run["seed"])
                inside = low <= value <= high
                text = f"{run['base']}/{run['arm']}, {split}, {FIGURES[figure]}: {value:.3f}, published "
                text += f"{low:.3f} to {high:.3f}" + ("" if same is None else f", same seed {same:.3f}")
                lines.append(Checked(inside, text))
    return lines


def summary(lines: Sequence[Checked]) -> str:
    """All figures, those outside marked."""
    shown = [f"  {'inside ' if line.inside else 'OUTSIDE'}  {line.text}" for line in lines]
    inside = sum(line.inside for line in lines)
    return "\n".join([*shown, f"{inside} of {len(lines)} figures lie inside the published intervals"])

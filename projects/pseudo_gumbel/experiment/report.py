"""Tables and verdicts as Markdown, put between the markers of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pseudo_gumbel.experiment.arms import BASES, Arm
from pseudo_gumbel.experiment.choose import SPLITS
from pseudo_gumbel.experiment.results import FIGURES, Results
from pseudo_gumbel.experiment.verdicts import (
    CLAIMS,
    COMPARED,
    CONTROLS,
    REFERRING,
    SPECIFIED,
    TEST_SPLITS,
    Verdict,
    plain,
    points,
    referring_verdicts,
    seconds,
    verdicts,
)
from sa2va_native.errors import DataError

HEADLINE = ("caption_colour", "cycle_iou", "cycle_stranger", "cycle_code", "refer_ciou", "caption_grammar")
_MARKED = "<!-- {name}: made by tools/experiment.py --report -->"
_END = "<!-- end of {name} -->"


def sections(results: Results, pictures: Sequence[str] = ()) -> dict[str, str]:
    """The generated parts of the page, by name; ``pictures`` are paths from the page."""
    return {
        "pictures": "\n\n".join(f"![Mean and 95 % interval of each arm]({picture})" for picture in pictures),
        "verdicts": verdict_lines(results),
        "arms": arm_list(results),
        "core": tables(results, "core"),
        "best": tables(results, "best"),
        "ablations": tables(results, "ablations"),
        "grid": tables(results, "grid", SPLITS),
        "runs": run_facts(results),
    }


def write_sections(page: Path, texts: dict[str, str]) -> None:
    """Replaces what is between the markers of each name; all other text stays.

    Raises:
        DataError: a name has no markers in the page.
    """
    text = page.read_text(encoding="utf-8")
    for name, new in texts.items():
        begin, end = _MARKED.format(name=name), _END.format(name=name)
        if text.count(begin) != 1 or text.count(end) != 1:
            raise DataError(f"{page}: needs the line '{begin}' once and then '{end}' once, for what is generated.")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{new}\n\n{end}{rest.partition(end)[2]}"
    page.write_text(text, encoding="utf-8")


def verdict_lines(results: Results) -> str:
    """Every target of every claim."""
    parts = [
        _listed(f"{arm}, {base} base, {title}", verdicts(results, base, split, arm))
        for arm, bases in CLAIMS.items()
        for base in bases
        for split, title in TEST_SPLITS.items()
    ]
    parts += [
        _listed(f"{REFERRING} raises referring, {base} base", referring_verdicts(results, base)) for base in BASES
    ]
    return "\n\n".join(parts)


def _listed(title: str, said: Sequence[Verdict]) -> str:
    """Targets, one a line, below how many of them hold."""
    if not any(verdict.measured for verdict in said):
        return f"**{title}**: not run yet."
    marks = {True: "holds", False: "**missed**", None: "open"}
    met = [verdict.met for verdict in said]
    undecided = f", {met.count(None)} are open" if None in met else ""
    head = f"**{title}**: {met.count(True)} of {len(met)} targets hold{undecided}."
    return "\n".join([head, "", *(f"- {marks[verdict.met]}: {verdict.text}" for verdict in said)])


def arm_list(results: Results) -> str:
    """What each arm of the core is, in a sentence."""
    arms = {
        arm.name: arm for base in results.bases() for split in TEST_SPLITS for arm in results.arms(base, "core", split)
    }
    return table(("arm", "what it is", "config"), [[n, a.says, f"`{a.config}`"] for n, a in arms.items()])


def tables(results: Results, group: str, splits: Iterable[str] = tuple(TEST_SPLITS)) -> str:
    """For each base and split: the headline figures, the differences, and all other figures."""
    parts = []
    for base in results.bases():
        for split in splits:
            arms = results.arms(base, group, split)
            if not arms:
                continue
            parts.append(f"### {group.capitalize()}, {base} base, {TEST_SPLITS.get(split, split)}")
            parts.append(_figures(results, base, split, arms, HEADLINE, cost=True))
            others = [figure for figure in FIGURES if figure not in HEADLINE]
            if group != "grid":
                parts.append("Differences of the same seeds, in points, with 95 % intervals:")
                parts.append(_differences(results, base, split, arms))
                parts.append("All other figures:")
                parts.append(_figures(results, base, split, arms, others))
    return "\n\n".join(parts) or "Not run yet."


def _figures(
    results: Results, base: str, split: str, arms: Sequence[Arm], figures: Sequence[str], cost: bool = False
) -> str:
    head = ["arm", "seeds", *(FIGURES[figure] for figure in figures), *(["training, CPU s"] if cost else [])]
    rows = []
    for arm in arms:
        seeds = len({run["seed"] for run in results.of(base, arm.name) if split in run["metrics"]})
        row = [arm.name, str(seeds), *(plain(results.interval(base, arm.name, split, figure)) for figure in figures)]
        rows.append([*row, *([seconds(results.seconds(base, arm.name))] if cost else [])])
    return table(head, rows)


def _differences(results: Results, base: str, split: str, arms: Sequence[Arm]) -> str:
    others = (*CONTROLS, SPECIFIED)
    head = ["arm", *(f"{FIGURES[figure]} - {other}" for other in others for figure in COMPARED)]
    rows = []
    for arm in arms:
        if arm.steps:
            cells = [
                "" if arm.name == other else points(results.difference(base, arm.name, other, split, figure))
                for other in others
                for figure in COMPARED
            ]
            rows.append([arm.name, *cells])
    return table(head, rows)


def run_facts(results: Results) -> str:
    """How many runs, with which versions, in how much time."""
    if not results.runs:
        return "Not run yet."
    versions = sorted({", ".join(f"{name} {one}" for name, one in run["versions"].items()) for run in results.runs})
    hours = sum(run["seconds"].get(part, 0.0) for run in results.runs for part in ("train_cpu", "test_cpu")) / 3600
    return f"{len(results.runs)} runs, {hours:.1f} CPU hours, each on one thread. Versions: {'; '.join(versions)}."


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])

"""Compares runs: a table, the changes beyond noise, and pictures of the same objects side by side.

Everything is computed from the predictions written by :class:`PredictionWriter`, so runs are compared sample by sample.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as rle

from sa2va_native.evaluation.captions import WORDS, absent_colour_rate, attribute_accuracy, grammar_rate
from sa2va_native.evaluation.comparison_sheet import Answer, Row, draw_sheet
from sa2va_native.evaluation.segmentation import intersection_union, mean_iou

SPLITS = {"test": "held-out scenes", "test_heldout": "held-out attribute combinations"}
BASE, RESAMPLES, ROWS = "base", 1000, 4

Sample = Mapping[str, Any]
#: What a sample adds to numerator and denominator; None if it does not count.
Term = Callable[[Sample], tuple[float, float] | None]


class Figure(NamedTuple):
    """One figure of the table: a ratio of sums over samples."""

    kind: str  #: of the samples that it covers
    term: Term
    better: int  #: 1: more is better; -1: less is; 0: a reading to compare others with, not a virtue


def _share(mask: str) -> Term:
    return lambda sample: intersection_union(sample[mask], sample["gt_mask"])


def _iou(mask: str) -> Term:
    return lambda sample: (mean_iou([intersection_union(sample[mask], sample["gt_mask"])]), 1)


def _reading(control: str) -> Term:
    return lambda sample: (sample.get("readings") or {}).get(control)


def _said(attribute: str) -> Term:
    return lambda sample: (attribute_accuracy([sample["caption"]], [sample["attributes"]])[attribute], 1)


def _absent_colour(sample: Sample) -> tuple[float, float] | None:
    colours = sample["attributes"].get("scene_colours")
    return None if colours is None else (absent_colour_rate([sample["caption"]], [colours]), 1)


#: The table. Controls and absent colours are left out where the predictions do not tell them.
METRICS = {
    "refer_ciou": Figure("refer", _share("pred_mask"), 1),
    "refer_giou": Figure("refer", _iou("pred_mask"), 1),
    "cycle_iou": Figure("cycle", _share("cycle_mask"), 1),
    "cycle_floor": Figure("cycle", _reading("floor"), 0),
    "cycle_ceiling": Figure("cycle", _reading("ceiling"), 0),
    "cycle_stranger": Figure("cycle", _reading("stranger"), 1),
    "caption_colour": Figure("cycle", _said("colour"), 1),
    "caption_shape": Figure("cycle", _said("shape"), 1),
    "caption_size": Figure("cycle", _said("size"), 1),
    "caption_attribute_accuracy": Figure("cycle", _said("attribute_accuracy"), 1),
    "caption_absent_colour": Figure("cycle", _absent_colour, -1),
    "caption_grammar": Figure("cycle", lambda sample: (grammar_rate([sample["caption"]]), 1), 1),
}
_NOTES = """\
In brackets: 95 % interval of the change against base, over the test samples; the noise of another training seed comes \
on top. A change is called so when the interval leaves out 0. Of caption_absent_colour less is better.

cycle_iou: mask to caption to mask. cycle_floor: with another object's caption; cycle_ceiling: with the true one; \
cycle_stranger: the own caption, read by the base."""


def write_report(
    folder: Path, runs: Mapping[str, Mapping[str, Any]], shown: Mapping[str, str] | None = None, rows: int = ROWS
) -> str:
    """Compare ``folder/<run>/predictions.jsonl`` and write ``report.md``, ``report.json`` and ``panels/``.

    Args:
        folder: contains a folder for each run.
        runs: facts about each run, e.g. ``steps`` and ``seconds``; the others are compared with ``base``.
        shown: runs of the pictures and their titles there (default: all).
        rows: objects in a picture.

    Returns:
        the report as Markdown.
    """
    samples = {run: _read(folder / run / "predictions.jsonl") for run in runs}
    by_split = {split: {run: _of(samples[run], split) for run in runs} for split in SPLITS}
    figures = {split: _figures(by_split[split]) for split in SPLITS}
    report = {run: {**figures["test"][run], **runs[run], "test_heldout": figures["test_heldout"][run]} for run in runs}
    changes = {
        split: {run: _changes(of[BASE], of[run], figures[split][BASE]) for run in runs if run != BASE}
        for split, of in by_split.items()
    }
    text = _markdown(figures, changes, runs)
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(text + "\n", encoding="utf-8")
    (folder / "panels").mkdir(exist_ok=True)
    shown = shown or {run: run for run in runs}
    for split, title in SPLITS.items():
        objects = _rows([by_split[split][run] for run in shown], rows)
        sheet = draw_sheet(objects, f"From mask to caption to mask, on {title}", list(shown.values()))
        sheet.save(folder / "panels" / f"before_after_{split}.png")
    return text


def _read(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        samples = [json.loads(line) for line in file]
    for sample in samples:
        for name in ("pred_mask", "cycle_mask", "gt_mask"):
            # Not with the codec for data sets: a predicted mask may be empty.
            sample[name] = None if sample[name] is None else rle.decode(sample[name]).astype(bool)
    return samples


def _of(samples: Sequence[Sample], split: str) -> list[Sample]:
    return [sample for sample in samples if sample["source"] == split]


def _terms(samples: Sequence[Sample], name: str) -> np.ndarray:
    """(N, 2) numerators and denominators of a figure."""
    figure = METRICS[name]
    terms = [figure.term(sample) for sample in samples if sample["kind"] == figure.kind]
    return np.array([term for term in terms if term is not None], dtype=float).reshape(-1, 2)


def _ratio(terms: np.ndarray) -> np.ndarray:
    """(..., N, 2) -> (...)."""
    total = terms.sum(-2)
    return total[..., 0] / total[..., 1]


def _figures(by_run: Mapping[str, Sequence[Sample]]) -> dict[str, dict[str, float]]:
    """Of each run, all figures that every run has."""
    terms = {run: {name: _terms(samples, name) for name in METRICS} for run, samples in by_run.items()}
    known = [name for name in METRICS if all(len(of[name]) for of in terms.values())]
    return {run: {name: round(float(_ratio(of[name])), 4) for name in known} for run, of in terms.items()}


def _changes(
    before: Sequence[Sample], after: Sequence[Sample], names: Sequence[str] | Mapping[str, Any]
) -> dict[str, tuple[float, float]]:
    """95 % intervals of each figure's change, by a paired bootstrap over samples (Efron 1979)."""
    rng = np.random.default_rng(0)
    intervals = {}
    for name in names:
        if not METRICS[name].better:
            continue
        old, new = _terms(before, name), _terms(after, name)
        chosen = rng.integers(len(old), size=(RESAMPLES, len(old)))
        low, high = np.quantile(_ratio(new[chosen]) - _ratio(old[chosen]), (0.025, 0.975))
        intervals[name] = (float(low), float(high))
    return intervals


_Figures = Mapping[str, Mapping[str, float]]


def _markdown(
    figures: Mapping[str, _Figures],
    changes: Mapping[str, Mapping[str, Any]],
    runs: Mapping[str, Mapping[str, Any]],
) -> str:
    parts = [
        f"## {title.capitalize()}\n\n{_table(figures[split])}\n\n{_verdicts(figures[split], changes[split])}"
        for split, title in SPLITS.items()
    ]
    times = ", ".join(
        f"{run} {facts['steps']} steps in {facts['seconds']} s" for run, facts in runs.items() if facts["steps"]
    )
    return "# What changed\n\n" + "\n\n".join(parts) + f"\n\n{_NOTES}\n\nTraining: {times}."


def _table(figures: _Figures) -> str:
    width = max(map(len, METRICS))
    lines = [f"| {'':<{width}} | " + " | ".join(f"{run:>13}" for run in figures) + " |"]
    lines.append(f"|{'-' * (width + 2)}|" + "|".join("-" * 14 + ":" for _ in figures) + "|")
    for name in next(iter(figures.values())):
        lines.append(f"| {name:<{width}} | " + " | ".join(f"{f[name]:>13.3f}" for f in figures.values()) + " |")
    return "\n".join(lines)


def _verdicts(figures: _Figures, changes: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for run, intervals in changes.items():
        groups: dict[str, list[str]] = {"improved": [], "got worse": [], "within noise": []}
        for name, (low, high) in intervals.items():
            change = figures[run][name] - figures[BASE][name]
            groups[_verdict(name, low, high)].append(f"{name} {change:+.3f} [{low:+.3f}, {high:+.3f}]")
        lines += [f"- **{run}** {verdict}: {', '.join(names)}." for verdict, names in groups.items() if names]
    return "\n".join(lines)


def _verdict(name: str, low: float, high: float) -> str:
    if low <= 0 <= high:
        return "within noise"
    return "improved" if (low > 0) == (METRICS[name].better > 0) else "got worse"


def _rows(runs: Sequence[Sequence[Sample]], count: int) -> list[Row]:
    """Objects at even distances, whatever was said of them: nobody chose them."""
    objects = [
        answers
        for answers in zip(*runs, strict=True)
        if answers[0]["kind"] == "cycle" and all(answer["picture"] for answer in answers)
    ]
    step = max(len(objects) // count, 1)
    return [
        Row(answers[0]["picture"], answers[0]["gt_mask"], [_answer(answer) for answer in answers])
        for answers in objects[::step][:count]
    ]


def _answer(sample: Sample) -> Answer:
    caption, true = sample["caption"], sample["attributes"]
    said = [(name, word) for name, words in WORDS.items() for word in (caption or "").split() if word in words]
    wrong = {word for name, word in said if word != true.get(name)}
    mask = sample["cycle_mask"]
    leads = mask is not None and mask.any()
    note = f"IoU {mean_iou([intersection_union(mask, sample['gt_mask'])]):.2f}" if leads else "leads nowhere"
    return Answer(caption, mask, wrong, note)

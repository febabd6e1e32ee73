"""Compares runs: a table, the changes beyond noise, and before / after pictures.

Everything is computed from the predictions written by :class:`PredictionWriter`, so runs are compared sample by sample.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from sa2va_native.evaluation.captions import attribute_accuracy, grammar_rate
from sa2va_native.evaluation.comparison_sheet import Row, draw_sheet
from sa2va_native.evaluation.segmentation import intersection_union, mean_iou

SPLITS = {"test": "held-out scenes", "test_heldout": "held-out attribute combinations"}
BASE, RESAMPLES, ROWS = "base", 1000, 6

Sample = Mapping[str, Any]


def _share(mask: str) -> Callable[[Sample], tuple[float, float]]:
    return lambda sample: intersection_union(sample[mask], sample["gt_mask"])


def _iou(mask: str) -> Callable[[Sample], tuple[float, float]]:
    return lambda sample: (mean_iou([intersection_union(sample[mask], sample["gt_mask"])]), 1)


def _said(attribute: str) -> Callable[[Sample], tuple[float, float]]:
    return lambda sample: (attribute_accuracy([sample["caption"]], [sample["attributes"]])[attribute], 1)


#: Each figure of the table: the kind of samples it covers, and what a sample adds to numerator and denominator.
METRICS: dict[str, tuple[str, Callable[[Sample], tuple[float, float]]]] = {
    "refer_ciou": ("refer", _share("pred_mask")),
    "refer_giou": ("refer", _iou("pred_mask")),
    "cycle_iou": ("cycle", _share("cycle_mask")),
    "caption_attribute_accuracy": ("cycle", _said("attribute_accuracy")),
    "caption_colour": ("cycle", _said("colour")),
    "caption_shape": ("cycle", _said("shape")),
    "caption_size": ("cycle", _said("size")),
    "caption_grammar": ("cycle", lambda sample: (grammar_rate([sample["caption"]]), 1)),
}


def write_report(folder: Path, runs: Mapping[str, Mapping[str, Any]]) -> str:
    """Compare ``folder/<run>/predictions.jsonl`` and write ``report.md``, ``report.json`` and ``panels/``.

    Args:
        folder: contains a folder for each run.
        runs: facts about each run, e.g. ``steps`` and ``seconds``; the others are compared with ``base``.

    Returns:
        the report as Markdown.
    """
    samples = {run: _read(folder / run / "predictions.jsonl") for run in runs}
    report: dict[str, Any] = {}
    for run in runs:
        splits = {split: _figures(_of(samples[run], split)) for split in SPLITS}
        report[run] = {**splits["test"], **runs[run], "test_heldout": splits["test_heldout"]}
    changes = {
        split: {run: _changes(_of(samples[BASE], split), _of(samples[run], split)) for run in runs if run != BASE}
        for split in SPLITS
    }
    text = _markdown(report, changes)
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(text + "\n", encoding="utf-8")
    (folder / "panels").mkdir(exist_ok=True)
    last = list(runs)[-1]
    for split, title in SPLITS.items():
        rows = _rows(_of(samples[BASE], split), _of(samples[last], split))
        sheet = draw_sheet(rows, f"From mask to caption to mask, on {title}", (BASE, f"after the {last}"))
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
    kind, term = METRICS[name]
    return np.array([term(sample) for sample in samples if sample["kind"] == kind], dtype=float)


def _ratio(terms: np.ndarray) -> np.ndarray:
    """(..., N, 2) -> (...)."""
    total = terms.sum(-2)
    return total[..., 0] / total[..., 1]


def _figures(samples: Sequence[Sample]) -> dict[str, float]:
    return {name: round(float(_ratio(_terms(samples, name))), 4) for name in METRICS}


def _changes(before: Sequence[Sample], after: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """95 % intervals of each figure's change, by a paired bootstrap over samples (Efron 1979)."""
    rng = np.random.default_rng(0)
    intervals = {}
    for name in METRICS:
        old, new = _terms(before, name), _terms(after, name)
        chosen = rng.integers(len(old), size=(RESAMPLES, len(old)))
        low, high = np.quantile(_ratio(new[chosen]) - _ratio(old[chosen]), (0.025, 0.975))
        intervals[name] = (float(low), float(high))
    return intervals


def _markdown(report: Mapping[str, Mapping[str, Any]], changes: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for split, title in SPLITS.items():
        figures = {run: entry if split == "test" else entry[split] for run, entry in report.items()}
        parts.append(f"## {title.capitalize()}\n\n{_table(figures)}\n\n{_verdicts(figures, changes[split])}")
    note = (
        "In brackets: 95 % interval of the change against base, over the test samples; the noise of another training "
        "seed comes on top. A change is called so when the interval leaves out 0."
    )
    times = ", ".join(f"{run} {e['steps']} steps in {e['seconds']} s" for run, e in report.items() if e["steps"])
    return "# What changed\n\n" + "\n\n".join(parts) + f"\n\n{note}\n\nTraining: {times}."


def _table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    width = max(map(len, METRICS))
    lines = [f"| {'':<{width}} | " + " | ".join(f"{run:>13}" for run in figures) + " |"]
    lines.append(f"|{'-' * (width + 2)}|" + "|".join("-" * 14 + ":" for _ in figures) + "|")
    for name in METRICS:
        lines.append(f"| {name:<{width}} | " + " | ".join(f"{f[name]:>13.3f}" for f in figures.values()) + " |")
    return "\n".join(lines)


def _verdicts(figures: Mapping[str, Mapping[str, Any]], changes: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for run, intervals in changes.items():
        groups: dict[str, list[str]] = {"improved": [], "got worse": [], "within noise": []}
        for name, (low, high) in intervals.items():
            verdict = "improved" if low > 0 else "got worse" if high < 0 else "within noise"
            change = figures[run][name] - figures[BASE][name]
            groups[verdict].append(f"{name} {change:+.3f} [{low:+.3f}, {high:+.3f}]")
        lines += [f"- **{run}** {verdict}: {', '.join(names)}." for verdict, names in groups.items() if names]
    return "\n".join(lines)


def _rows(before: Sequence[Sample], after: Sequence[Sample]) -> list[Row]:
    """The first objects whose captions differ, whether better or worse; every third, for variety."""
    pairs = [
        (old, new)
        for old, new in zip(before, after, strict=True)
        if new["kind"] == "cycle" and new["picture"] and old["caption"] != new["caption"]
    ]
    return [
        Row(new["picture"], new["gt_mask"], [(s["caption"], s["cycle_mask"]) for s in (old, new)])
        for old, new in pairs[::3][:ROWS]
    ]

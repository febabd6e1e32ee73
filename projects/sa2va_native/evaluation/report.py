"""Compares runs: a table, the changes beyond noise, and pictures of the same objects side by side.

Everything is computed from the predictions written by :class:`PredictionWriter`, so runs are compared sample by sample.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sa2va_native.evaluation.captions import WORDS
from sa2va_native.evaluation.comparison_sheet import Answer, Row, draw_sheet
from sa2va_native.evaluation.figures import better
from sa2va_native.evaluation.predictions import read_predictions
from sa2va_native.evaluation.run_comparison import Compared, compare_runs
from sa2va_native.evaluation.segmentation import intersection_union, iou

SPLITS = {"test": "held-out scenes", "test_heldout": "held-out attribute combinations"}
BASE, ROWS = "base", 4

Sample = Mapping[str, Any]

#: The table. Controls and absent colours are left out where the predictions do not tell them.
FIGURES = (
    "refer_ciou", "refer_giou",
    "cycle_iou", "cycle_floor", "cycle_ceiling", "cycle_stranger",
    "caption_colour", "caption_shape", "caption_size", "caption_attribute_accuracy", "caption_absent_colour",
    "caption_grammar",
)  # fmt: skip
_VERDICTS = {"better": "improved", "worse": "got worse", "": "within noise"}
_NOTES = """\
In brackets: 95 % interval of the change against base, over the test pictures; the noise of another training seed \
comes on top. A change is called so when the interval leaves out 0. Of caption_absent_colour less is better.

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
    paths = {run: folder / run / "predictions.jsonl" for run in (BASE, *runs)}
    samples = {run: list(read_predictions(path)) for run, path in paths.items()}
    by_split = {split: {run: _of(samples[run], split) for run in runs} for split in SPLITS}
    compared = compare_runs(paths)
    rows_of = {split: _table_rows(compared, split) for split in SPLITS}
    report = {
        run: {**_figures(rows_of["test"], run), **facts, "test_heldout": _figures(rows_of["test_heldout"], run)}
        for run, facts in runs.items()
    }
    text = _markdown(rows_of, runs)
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(text + "\n", encoding="utf-8")
    (folder / "panels").mkdir(exist_ok=True)
    shown = shown or {run: run for run in runs}
    for split, title in SPLITS.items():
        objects = _rows([by_split[split][run] for run in shown], rows)
        sheet = draw_sheet(objects, f"From mask to caption to mask, on {title}", list(shown.values()))
        sheet.save(folder / "panels" / f"before_after_{split}.png")
    return text


def _of(samples: Sequence[Sample], split: str) -> list[Sample]:
    return [sample for sample in samples if sample["source"] == split]


def _table_rows(compared: Sequence[Compared], split: str) -> list[Compared]:
    rows = [row for row in compared if row.source == split and row.figure in FIGURES]
    return sorted(rows, key=lambda row: FIGURES.index(row.figure))


def _figures(rows: Sequence[Compared], run: str) -> dict[str, float]:
    return {row.figure: round(row.values[run], 4) for row in rows}


def _markdown(rows_of: Mapping[str, Sequence[Compared]], runs: Mapping[str, Mapping[str, Any]]) -> str:
    parts = [
        f"## {title.capitalize()}\n\n{_table(rows_of[split], runs)}\n\n{_verdicts(rows_of[split], runs)}"
        for split, title in SPLITS.items()
    ]
    times = ", ".join(
        f"{run} {facts['steps']} steps in {facts['seconds']} s" for run, facts in runs.items() if facts["steps"]
    )
    return "# What changed\n\n" + "\n\n".join(parts) + f"\n\n{_NOTES}\n\nTraining: {times}."


def _table(rows: Sequence[Compared], runs: Iterable[str]) -> str:
    width = max(map(len, FIGURES))
    lines = [f"| {'':<{width}} | " + " | ".join(f"{run:>13}" for run in runs) + " |"]
    lines.append(f"|{'-' * (width + 2)}|" + "|".join("-" * 14 + ":" for _ in runs) + "|")
    for row in rows:
        lines.append(f"| {row.figure:<{width}} | " + " | ".join(f"{row.values[run]:>13.3f}" for run in runs) + " |")
    return "\n".join(lines)


def _verdicts(rows: Sequence[Compared], runs: Iterable[str]) -> str:
    """The changes of the figures that can improve."""
    lines = []
    for run in runs:
        groups: dict[str, list[str]] = {said: [] for said in _VERDICTS}
        for row in rows:
            if run != BASE and better(row.figure):
                change, low, high, said = row.differences[run]
                groups[said].append(f"{row.figure} {change:+.3f} [{low:+.3f}, {high:+.3f}]")
        lines += [f"- **{run}** {_VERDICTS[said]}: {', '.join(names)}." for said, names in groups.items() if names]
    return "\n".join(lines)


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
    note = f"IoU {iou(intersection_union(mask, sample['gt_mask'])):.2f}" if leads else "leads nowhere"
    return Answer(caption, mask, wrong, note)

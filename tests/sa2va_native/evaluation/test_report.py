"""Predictions written to a file and read back into the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sa2va_native.evaluation.prediction_writer import PredictionWriter
from sa2va_native.evaluation.report import SPLITS, write_report
from tests.tiny import tiny_batch

TRUE = {"colour": "red", "shape": "star", "size": "small", "texture": "plain"}


def predictions(missed: int) -> list[dict[str, Any]]:
    """Four objects of each split and kind, perfect but for the first ``missed``, of which there is nothing."""
    mask = np.zeros((128, 128), bool)
    mask[:64] = True
    perfect = dict(attributes=TRUE, text="a small red star", gt_mask=mask)
    said = dict(caption="a small red star", pred_mask=mask, cycle_mask=mask)
    nothing = dict.fromkeys(said)
    return [
        dict(kind=kind, source=split, sample_id=str(i), **perfect, **(nothing if i < missed else said))
        for split in SPLITS
        for kind in ("refer", "cycle")
        for i in range(4)
    ]


def test_missing_captions_and_masks_count_against_the_model(tmp_path: Path) -> None:
    """Red when the writer or the report stops at a sample without a caption or a mask, or leaves it out."""
    runs = {"base": 0, "cycle": 2}
    for run, missed in runs.items():
        writer = PredictionWriter(tmp_path / run / "predictions.jsonl")
        samples = predictions(missed)
        writer.process({"batch": tiny_batch("cycle", len(samples))}, samples)
        lines = [json.loads(line) for line in writer.path.read_text().splitlines()]
        assert [line["caption"] for line in lines] == [sample["caption"] for sample in samples]
    write_report(tmp_path, {run: dict(steps=1, seconds=1) for run in runs})
    report = json.loads((tmp_path / "report.json").read_text())
    names = ["refer_ciou", "refer_giou", "cycle_iou", "caption_attribute_accuracy", "caption_colour", "caption_grammar"]
    for run, share in (("base", 1.0), ("cycle", 0.5)):
        assert {report[run][name] for name in names} == {share}
        assert {report[run]["test_heldout"][name] for name in names} == {share}
    assert (tmp_path / "panels/before_after_test.png").stat().st_size > 0

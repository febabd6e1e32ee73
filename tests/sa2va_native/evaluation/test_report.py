"""Predictions written to a file and read back into the report."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sa2va_native.evaluation.comparison_sheet import MARGIN, SIZE, TILE, Answer, Row, draw_sheet, wrapped
from sa2va_native.evaluation.drawing import PREDICTED, font
from sa2va_native.evaluation.prediction_writer import PredictionWriter
from sa2va_native.evaluation.report import SPLITS, write_report
from tests.tiny import tiny_batch

TRUE = {"colour": "red", "shape": "star", "size": "small", "texture": "plain"}


def predictions(missed: int, **more: Any) -> list[dict[str, Any]]:
    """Four objects of each split and kind, perfect but for the first ``missed``, of which there is nothing.

    ``more`` is what each sample has in addition, or instead.
    """
    mask = np.zeros((128, 128), bool)
    mask[:64] = True
    perfect = dict(attributes=TRUE, text="a small red star", gt_mask=mask)
    said = dict(caption="a small red star", pred_mask=mask, cycle_mask=mask)
    nothing = dict.fromkeys(said)
    return [
        {"kind": kind, "source": split, "sample_id": str(i), "picture_id": str(i), "stopped": True}
        | {**perfect, **(nothing if i < missed else said), **more}
        for split in SPLITS
        for kind in ("refer", "cycle")
        for i in range(4)
    ]


def write(folder: Path, runs: dict[str, list[dict[str, Any]]], **options: Any) -> tuple[dict[str, Any], str]:
    """The report on made-up predictions: as JSON and as text."""
    for run, samples in runs.items():
        writer = PredictionWriter(folder / run / "predictions.jsonl")
        writer.process({"batch": tiny_batch("cycle", len(samples))}, samples)
    text = write_report(folder, {run: dict(steps=1, seconds=1) for run in runs}, **options)
    return json.loads((folder / "report.json").read_text()), text


def verdict_of(text: str, run: str, name: str, split: str = "Held-out scenes") -> str:
    """The verdict on one figure of one run."""
    section = text.split(f"## {split}")[1].split("##")[0]
    line = next(line for line in section.splitlines() if line.startswith(f"- **{run}**") and f" {name} " in line)
    return line.removeprefix(f"- **{run}** ").split(":")[0]


def test_missing_captions_and_masks_count_against_the_model(tmp_path: Path) -> None:
    """Red when the writer or the report stops at a sample without a caption or a mask, or leaves it out."""
    runs = {"base": 0, "cycle": 2}
    samples = {run: predictions(missed) for run, missed in runs.items()}
    report, _ = write(tmp_path, samples)
    for run in runs:
        lines = [json.loads(line) for line in (tmp_path / run / "predictions.jsonl").read_text().splitlines()]
        assert [line["caption"] for line in lines] == [sample["caption"] for sample in samples[run]]
    names = ["refer_ciou", "refer_giou", "cycle_iou", "caption_attribute_accuracy", "caption_colour", "caption_grammar"]
    for run, share in (("base", 1.0), ("cycle", 0.5)):
        assert {report[run][name] for name in names} == {share}
        assert {report[run]["test_heldout"][name] for name in names} == {share}
    assert (tmp_path / "panels/before_after_test.png").stat().st_size > 0


def test_controls_are_read_and_are_no_virtue(tmp_path: Path) -> None:
    """Red when a control is averaged instead of pooled, taken from another run, or called better or worse."""
    readings = {
        "base": {"floor": (1, 4), "ceiling": (3, 4), "stranger": (2, 4)},
        "word_trials": {"floor": (0, 4), "ceiling": (4, 4), "stranger": (3, 4)},
    }
    report, text = write(tmp_path, {run: predictions(0, readings=of) for run, of in readings.items()})
    for run, of in readings.items():
        for name, (both, either) in of.items():
            assert report[run][f"cycle_{name}"] == both / either
    assert verdict_of(text, "word_trials", "cycle_stranger") == "improved"
    for name in ("cycle_floor", "cycle_ceiling"):
        assert not [line for line in text.splitlines() if line.startswith("- **") and name in line]


def test_without_controls_the_table_leaves_them_out(tmp_path: Path) -> None:
    """Red when a run of one control more, or an evaluation without any, puts NaN into the table."""
    runs = {"base": predictions(0, readings={"floor": (1, 4)}), "labelled": predictions(0)}
    report, text = write(tmp_path, runs)
    assert "cycle_floor" not in report["base"]
    assert "nan" not in text


def test_of_absent_colours_less_is_better(tmp_path: Path) -> None:
    """Red when a captioner that stops to name colours which are not there is said to get worse."""
    seen = {**TRUE, "scene_colours": ["red", "blue", "green"]}
    runs = {
        "base": predictions(0, attributes=seen, caption="a small pink star"),
        "word_trials": predictions(0, attributes=seen),
        "labelled": predictions(0, attributes=seen, caption="a small blue star"),
    }
    report, text = write(tmp_path, runs)
    assert [report[run]["caption_absent_colour"] for run in runs] == [1, 0, 0]
    assert verdict_of(text, "word_trials", "caption_absent_colour") == "improved"
    assert verdict_of(text, "word_trials", "caption_colour") == "improved"
    assert verdict_of(text, "labelled", "caption_colour") == "within noise"
    assert "caption_absent_colour -1.000 [-1.000, -1.000]" in text


def test_a_change_within_noise_is_not_called_one(tmp_path: Path) -> None:
    """Red when one object more or less of four decides, or the two splits are mixed up."""
    worse = [sample for sample in predictions(1) if sample["source"] == "test"]
    worse += [sample for sample in predictions(4) if sample["source"] == "test_heldout"]
    _, text = write(tmp_path, {"base": predictions(0), "specified": worse})
    assert verdict_of(text, "specified", "cycle_iou") == "within noise"
    assert verdict_of(text, "specified", "cycle_iou", "Held-out attribute combinations") == "got worse"


def test_pictures_show_the_named_runs(tmp_path: Path) -> None:
    """Red when a run that was not asked for has a column, or every object is drawn."""
    runs = {
        "base": predictions(0, caption="a small blue star"),
        "labelled": predictions(0),
        "word_trials": predictions(0),
    }
    write(tmp_path, runs, shown={"base": "base", "word_trials": "word trials"}, rows=2)
    sheet = Image.open(tmp_path / "panels/before_after_test.png")
    assert sheet.width == MARGIN + 3 * (TILE + MARGIN)
    write(tmp_path, runs, rows=1)
    assert Image.open(tmp_path / "panels/before_after_test.png").height < sheet.height


def test_false_words_are_marked(tmp_path: Path) -> None:
    """Red when the false word of a caption looks like a true one."""
    picture = tmp_path / "picture.png"
    Image.new("RGB", (8, 8)).save(picture)
    mask = np.zeros((8, 8), bool)

    def marked(wrong: set[str]) -> int:
        row = Row(str(picture), mask, [Answer("a small blue star", mask, wrong)])
        return int((np.asarray(draw_sheet([row], "", ["base"])) == PREDICTED).all(-1).sum())

    assert marked(set()) == 0
    assert 0 < marked({"blue"}) < marked({"blue", "small"})


@pytest.mark.parametrize("width", [1, 60, 200, 1000])
def test_captions_are_wrapped_within_their_tile(width: int) -> None:
    """Red when a word is lost, or a line runs into the next tile although its words fit."""
    words = ["a", "small", "striped", "purple", "triangle"]
    lines = wrapped(words, width)
    assert [word for line in lines for word in line] == words
    assert all(len(line) == 1 or font(SIZE).getlength(" ".join(line)) <= width for line in lines)
    assert all(
        font(SIZE).getlength(" ".join([*line, following[0]])) > width for line, following in itertools.pairwise(lines)
    )

"""Runs compared from what :class:`PredictionWriter` wrote of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pseudo_gumbel.cli.compare_runs import main, named
from sa2va_native.errors import ConfigError, DataError
from sa2va_native.evaluation.caption_metric import CaptionMetric
from sa2va_native.evaluation.clip_metric import ClipMetric
from sa2va_native.evaluation.cycle_metric import CycleMetric
from sa2va_native.evaluation.figures import verdict
from sa2va_native.evaluation.prediction_writer import PredictionWriter
from sa2va_native.evaluation.referring_details import (
    ReferringBoundary,
    ReferringPrecision,
    ReferringSizes,
    ReferringTargets,
)
from sa2va_native.evaluation.referring_metric import ReferringMetric
from sa2va_native.evaluation.run_comparison import Compared, compare_runs
from sa2va_native.evaluation.scene_caption_metric import SceneCaptionMetric
from tests.sa2va_native.evaluation.masks import blob
from tests.tiny import tiny_batch

SCENE = {"colour": "red", "shape": "star", "size": "small", "texture": "plain", "scene_colours": ["red", "blue"]}
SHAPE = (40, 40)
METRICS = (
    ReferringMetric, ReferringPrecision, ReferringTargets, ReferringSizes, ReferringBoundary,
    CycleMetric, SceneCaptionMetric, CaptionMetric, ClipMetric,
)  # fmt: skip


def predictions(run: int, kinds: tuple[str, ...] = ("refer", "cycle", "caption", "clip")) -> list[dict[str, Any]]:
    """12 samples of each kind, three in each picture; what is found depends on the run."""
    samples = []
    for kind in kinds:
        for i in range(12):
            found = None if (i + run) % 5 == 0 else blob(i + 100 * run, SHAPE)
            true = np.zeros(SHAPE, bool) if kind == "refer" and i % 4 == 3 else blob(i, SHAPE)
            if kind == "clip":
                found, true = None if found is None else np.stack([found] * 3), np.stack([true] * 3)
            caption = None if i == 5 else "a small red star" if (i + run) % 3 else "a large pink ring"
            samples.append(
                dict(
                    kind=kind, source="val", sample_id=f"object {i}", picture_id=f"picture {i // 3}", gt_mask=true,
                    attributes=SCENE, text="A small red star.", caption=None if kind == "refer" else caption,
                    stopped=None if caption is None else bool(i % 2), pred_mask=found, cycle_mask=found,
                )
            )  # fmt: skip
            if kind == "cycle":
                samples[-1]["readings"] = {"floor": (i, 20), "ceiling": (10 + run, 20), "stranger": (i, 12)}
    return samples


def write(path: Path, samples: list[dict[str, Any]]) -> Path:
    PredictionWriter(path, pictures=0).process({"batch": tiny_batch("cycle", len(samples))}, samples)
    return path


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {f"run {run}": write(folder / f"run {run}.jsonl", predictions(run)) for run in range(3)}


def by_figure(rows: list[Compared], samples: int | None = None) -> dict[str, Compared]:
    return {row.figure: row for row in rows}


def test_figures_are_those_of_the_metrics(paths: dict[str, Path]) -> None:
    """Every one, to the last digit. Red when a comparison counts otherwise than the evaluation."""
    rows = by_figure(compare_runs(paths, resamples=10))
    for run in range(3):
        reported: dict[str, float] = {}
        for metric in METRICS:
            one = metric(controls=["floor", "ceiling", "stranger"]) if metric is CycleMetric else metric()
            one.process(None, predictions(run))
            reported |= one.evaluate(0)
        compared = {name: row.values[f"run {run}"] for name, row in rows.items()}
        corpus = {"cycle_code", "caption_distinct_1", "caption_distinct_2", "caption_different"}  # no ratio of sums
        assert reported.keys() - compared.keys() == corpus
        assert compared == {name: pytest.approx(reported[name], abs=1e-15) for name in compared}


def test_differences_are_from_the_first_run_and_over_pictures(paths: dict[str, Path]) -> None:
    """Red when runs are compared in a chain, or each object counts as a picture."""
    row = by_figure(compare_runs(paths))["refer_ciou"]
    assert (row.source, row.samples, row.pictures) == ("val", 12, 4)
    assert list(row.differences) == ["run 1", "run 2"]
    for run, difference in row.differences.items():
        assert difference.value == row.values[run] - row.values["run 0"]
        assert difference.low <= difference.value <= difference.high
        assert difference.verdict == verdict("refer_ciou", difference.low, difference.high)


def test_a_run_equals_itself(tmp_path: Path, paths: dict[str, Path]) -> None:
    """In whatever order ranks wrote it. Red when samples are paired by their place in the file."""
    again = write(tmp_path / "again.jsonl", predictions(0)[::-1])
    for row in compare_runs({"once": paths["run 0"], "again": again}, resamples=20):
        difference = row.differences["again"]
        assert difference == pytest.approx((0, 0, 0, ""), abs=1e-15) or difference[:3] == (0, 0, 0)


@pytest.mark.parametrize(
    ("figure", "low", "high", "said"),
    [
        ("refer_ciou", 0.1, 0.2, "better"),
        ("refer_ciou", -0.2, -0.1, "worse"),
        ("refer_ciou", -0.1, 0.1, ""),
        ("refer_ciou", 0.0, 0.0, ""),
        ("caption_absent_colour", 0.1, 0.2, "worse"),
        ("caption_absent_colour", -0.2, -0.1, "better"),
        ("cycle_floor", 0.1, 0.2, "other"),
        ("caption_length", -0.2, -0.1, "other"),
    ],
)
def test_verdicts(figure: str, low: float, high: float, said: str) -> None:
    """Red when a control is praised, or a rate of errors that falls is called worse."""
    assert verdict(figure, low, high) == said


def test_figures_that_one_run_lacks_are_left_out(tmp_path: Path, paths: dict[str, Path]) -> None:
    """Red when a run without controls is an error, or its controls are taken for 0."""
    bare = [{name: value for name, value in one.items() if name != "readings"} for one in predictions(1)]
    rows = by_figure(compare_runs({"a": paths["run 0"], "b": write(tmp_path / "b.jsonl", bare)}, resamples=5))
    assert "cycle_floor" not in rows
    assert {"cycle_iou", "refer_n_acc", "caption_agreement"} <= rows.keys()


def test_runs_on_other_data_are_an_error(tmp_path: Path, paths: dict[str, Path]) -> None:
    """Red when only the common samples are compared without a word."""
    fewer = write(tmp_path / "fewer.jsonl", predictions(1)[1:])
    for runs in ({"a": paths["run 0"], "b": fewer}, {"b": fewer, "a": paths["run 0"]}):
        with pytest.raises(
            DataError, match=r"fewer.jsonl lacks 1 samples of .*run 0.jsonl, such as object 0 of the 'refer'"
        ):
            compare_runs(runs)


def test_a_file_that_holds_two_evaluations_is_an_error(tmp_path: Path) -> None:
    """Red when the samples of both are averaged, or the last one wins."""
    path = write(tmp_path / "twice.jsonl", predictions(0) * 2)
    with pytest.raises(DataError, match=r"twice.jsonl: object 0 of source 'val' is there twice"):
        compare_runs({"a": path, "b": path})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"kind": "refer", "sour', r"line 2 is no sample .*killed"),
        ('{"kind": "refer", "source": "val"}', r"line 2 has no sample_id, picture_id, .*another version"),
        ("[]", r"line 2 has no kind"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    """Red when the half line of a killed evaluation is skipped, or ends in a traceback."""
    path = write(tmp_path / "one.jsonl", predictions(0)[:1])
    path.write_text(path.read_text() + line)
    with pytest.raises(DataError, match=message):
        compare_runs({"a": path, "b": path})
    with pytest.raises(DataError, match=r"none.jsonl: cannot be read \(No such file"):
        compare_runs({"a": tmp_path / "none.jsonl"})


def test_the_command_prints_and_writes_every_row(
    tmp_path: Path, paths: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Red when the table lacks a run, or the file holds other figures than the table."""
    arguments = [*map(str, paths.values()), "--resamples", "20", "--out", str(tmp_path / "out/rows.json")]
    main(arguments)
    table = capsys.readouterr().out.splitlines()
    rows = json.loads((tmp_path / "out/rows.json").read_text())
    assert len(table) == 1 + len(rows)
    assert table[0].split() == [
        "val",
        "samples",
        "pictures",
        "run",
        "0",
        "run",
        "1",
        "difference",
        "run",
        "2",
        "difference",
    ]
    for line, row in zip(table[1:], rows, strict=True):
        first = line.split()
        assert first[:4] == [row["figure"], str(row["samples"]), str(row["pictures"]), f"{row['values']['run 0']:.4f}"]
        assert f"{row['differences']['run 2']['value']:+.4f} [" in line


def test_runs_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    """Red when two folders' files have one name, so that one run is lost."""
    one, other, file = tmp_path / "one/predictions.jsonl", tmp_path / "other/predictions.jsonl", tmp_path / "base.jsonl"
    assert named([one, other, file]) == {"one": one, "other": other, "base": file}
    alike = tmp_path / "x/base.jsonl"
    assert named([file, alike]) == {f"{tmp_path.name}/base": file, "x/base": alike}
    seeds = [tmp_path / f"{base}/{arm}/seed_0" for base, arm in (("a", "labelled"), ("a", "trials"), ("b", "trials"))]
    for folder in seeds:
        folder.mkdir(parents=True)
    assert list(named(seeds)) == ["labelled/seed_0", "a/trials/seed_0", "b/trials/seed_0"]
    with pytest.raises(ConfigError, match="given twice"):
        named([file, file])


def test_what_became_worse_ends_with_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Red when a script goes on with a model that has forgotten, or stops at one within noise."""
    good = predictions(0)
    bad = [{**one, "pred_mask": None, "cycle_mask": None, "caption": None} for one in good]
    base, same, worse = (
        str(write(tmp_path / f"{name}.jsonl", own)) for name, own in (("base", good), ("same", good), ("worse", bad))
    )
    main([base, same, "--forgetting", "--resamples", "20"])
    assert "same is worse than base in no figure." in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"^1$"):
        main([base, same, worse, "--forgetting", "--resamples", "20"])
    said = capsys.readouterr().out
    assert "same is worse than base in no figure." in said
    assert "refer_ciou on val" in said.split("worse is worse than base in ")[1]

"""Means, intervals, verdicts, tables and plots, from made-up results."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from pseudo_gumbel.cli import experiment as command
from pseudo_gumbel.experiment.arms import GROUPS, RATES, SCHEDULES
from pseudo_gumbel.experiment.check import check
from pseudo_gumbel.experiment.choose import choose, freeze
from pseudo_gumbel.experiment.report import sections, write_sections
from pseudo_gumbel.experiment.results import Results, merged, publish_runs, read_published
from pseudo_gumbel.experiment.runs import RESULT, Run
from pseudo_gumbel.experiment.verdicts import plain, points, referring_verdicts, verdicts
from sa2va_native.errors import ConfigError, DataError
from sa2va_native.evaluation.seed_intervals import apart, interval, paired, student_t
from sa2va_native.files.paths import ROOT


def result(arm: str, seed: int, base: str = "shipped", split: str = "test", **figures: float) -> dict[str, Any]:
    found = next(a for group in GROUPS.values() for a in group if a.name == arm)
    return {
        "arm": arm,
        "base": base,
        "seed": seed,
        "steps": found.steps,
        "definition": "x",
        "seconds": {"train": 10.0, "train_cpu": 9.0, "test": 2.0, "test_cpu": 1.0},
        "metrics": {split: figures},
        "versions": {"python": "3.11"},
        "command": "tools/experiment.py",
    }


def winning() -> list[dict[str, Any]]:
    """Three seeds in which word trials meet all targets."""
    noise = (-0.01, 0.0, 0.01)
    runs = []
    for seed, shift in enumerate(noise):
        always = {"caption_grammar": 1.0, "cycle_code": 0.01}
        arms = {
            "labelled": (0.28, 0.18, 0.55),
            "labelled_recipe": (0.26, 0.13, 0.545),
            "labelled_uniform": (0.27, 0.15, 0.55),
            "specified": (0.16, 0.08, 0.45),
            "word_trials": (0.81, 0.44, 0.551),
        }
        for arm, (colour, iou, refer) in arms.items():
            figures = {"caption_colour": colour, "cycle_iou": iou, "refer_ciou": refer}
            runs.append(result(arm, seed, **{name: value + shift for name, value in figures.items()}, **always))
    return runs


@pytest.mark.parametrize("df", [1, 2, 4, 9, 30, 200])
def test_the_quantile_is_students(df: int) -> None:
    """Red when the integration is off, or one-sided."""
    assert student_t(df) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-6)


def test_an_interval_is_that_of_scipy() -> None:
    """Red when the spread is divided by n, or the half width forgets the square root."""
    values = [0.81, 0.75, 0.86, 0.79, 0.8]
    ours = interval(values)
    theirs = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (ours.low, ours.high) == pytest.approx(theirs)
    assert interval([0.5]).half is None
    assert not apart(interval([0.5]), interval([0.9]))


def test_one_more_run_lies_in_the_prediction_interval() -> None:
    """Red when a single run is held against the interval of the mean: 1,000 samples of 5 and one more each."""
    rng = np.random.default_rng(0)
    inside = 0
    for *seeds, more in rng.normal(0.5, 0.1, (1000, 6)):
        low, high = interval(seeds).of_one_more()
        inside += low <= more <= high
    assert inside / 1000 == pytest.approx(0.95, abs=0.02)


def test_differences_are_of_the_same_seed() -> None:
    """Red when means are subtracted, which leaves the seeds' own spread in the interval."""
    found = paired({0: 0.5, 1: 0.9, 7: 0.0}, {0: 0.4, 1: 0.8, 2: 1.0})
    assert found is not None
    assert (found.mean, found.half, found.n) == (pytest.approx(0.1), pytest.approx(0.0, abs=1e-9), 2)
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_numbers_are_shown_as_in_the_tables() -> None:
    """Red when a minus is lost, or a count is shown as a share."""
    assert plain(interval([0.551, 0.553])) == ".552 ± .013"
    assert plain(interval([-0.02])) == "-.020"
    assert plain(interval([73.0])) == "73"
    assert plain(None) == "-"
    assert points(interval([0.53])) == "+53.0"
    assert points(interval([-0.01, -0.01])) == "-1.0 [-1.0, -1.0]"


def test_all_targets_hold() -> None:
    """Red when a target is compared the wrong way round."""
    said = verdicts(Results(winning()), "shipped", "test", "word_trials")
    assert [verdict.met for verdict in said] == [True] * 13, said
    assert said[0].text == "colour over labelled only, at least +45 points: +53.0 [+53.0, +53.0]"


def test_gains_are_held_against_the_best_of_the_grid_too() -> None:
    """Red when an arm is compared with labelled only at a worse schedule than the best that validation found."""
    best = [result("labelled/best_partner", seed, base="partner", refer_ciou=0.56) for seed in range(3)]
    runs = [*({**run, "base": "partner"} for run in winning()), *best]
    said = verdicts(Results(runs), "partner", "test", "word_trials")
    assert [verdict.met for verdict in said] == [*[True] * 9, None, None, False, *[True] * 4]
    assert said[11].text.startswith("referring cIoU over labelled only at the best schedule of its grid")


@pytest.mark.parametrize(
    ("figure", "value", "place"),
    [
        ("caption_colour", 0.72, 0),
        ("cycle_iou", 0.42, 1),
        ("refer_ciou", 0.549, 2),
        ("caption_colour", 0.7, 3),
        ("cycle_iou", 0.37, 4),
        ("refer_ciou", 0.544, 5),
        ("caption_colour", 0.71, 6),
        ("cycle_iou", 0.39, 7),
        ("refer_ciou", 0.549, 8),
        ("caption_grammar", 0.96, 9),
        ("cycle_code", 0.06, 10),
        ("caption_colour", 0.16, 11),
        ("cycle_iou", 0.08, 12),
    ],
)
def test_each_target_can_be_missed(figure: str, value: float, place: int) -> None:
    """Red when a target always holds."""
    runs = winning()
    for run in runs:
        if run["arm"] == "word_trials":
            run["metrics"]["test"][figure] = value
    assert verdicts(Results(runs), "shipped", "test", "word_trials")[place].met is False


def test_referring_is_compared_on_held_out_combinations() -> None:
    """Red when the target is held against another arm, or read on the easier split."""
    arms = {"labelled": 0.4, "self_training": 0.42, "word_trials_masks": 0.44}
    runs = [
        result(arm, seed, split="test_heldout", refer_ciou=value + seed / 100)
        for arm, value in arms.items()
        for seed in (0, 1)
    ]
    said = referring_verdicts(Results(runs), "shipped")
    assert [verdict.met for verdict in said] == [True, False]
    assert "over labelled only of as many steps, at least +3 points: +4.0" in said[0].text


def test_what_was_not_measured_is_open() -> None:
    """Red when a missing figure, or a single seed, passes or fails."""
    runs = [run for run in winning() if run["seed"] == 0]
    for run in runs:
        del run["metrics"]["test"]["cycle_code"]
    said = verdicts(Results(runs), "shipped", "test", "word_trials")
    assert [verdict.met for verdict in said] == [None] * 13
    assert "not measured" in said[10].text
    assert verdicts(Results([]), "shipped", "test", "word_trials")[0].met is None


def test_the_page_keeps_its_prose(tmp_path: Path) -> None:
    """Red when text outside the markers is lost, or a second report adds to the first."""
    page = tmp_path / "results.md"
    marked = "".join(
        f"before {name}\n<!-- {name}: made by tools/experiment.py --report -->\nold\n<!-- end of {name} -->\nafter\n"
        for name in ("a", "b")
    )
    page.write_text(marked)
    write_sections(page, {"a": r"new \1", "b": "| x |"})
    once = page.read_text()
    assert r"new \1" in once
    assert "old" not in once
    assert once.count("before") == once.count("after") == 2
    write_sections(page, {"a": r"new \1", "b": "| x |"})
    assert page.read_text() == once
    with pytest.raises(DataError, match="c: made by"):
        write_sections(page, {"c": ""})


def test_tables_need_the_published_file_alone(tmp_path: Path) -> None:
    """Red when the report needs a work dir, or a missing figure breaks a table."""
    (tmp_path / "images").mkdir()
    (tmp_path / "results.md").write_text((ROOT / "docs/results.md").read_text())
    publish_runs(tmp_path / "results.json", winning())
    arguments = ["--report", "--docs", str(tmp_path), "--work-dir", str(tmp_path / "nothing")]
    assert command.report(command.parse_args(arguments, "x")) == 0
    text = (tmp_path / "results.md").read_text()
    row = "| word_trials | 3 | .810 ± .025 | .440 ± .025 | - | .010 ± .000 | .551 ± .025 | 1.000 ± .000 | 9 ± 0 |"
    assert row in text
    assert "**word_trials, shipped base, held-out scenes**: 13 of 13 targets hold." in text
    assert "![Mean and 95 % interval of each arm](images/results_shipped_core.png)" in text
    with Image.open(tmp_path / "images/results_shipped_core.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


def test_the_published_file_gives_the_same_page_again(tmp_path: Path) -> None:
    """Red when a page shows digits of a work dir that others do not have."""
    (tmp_path / "images").mkdir()
    page = tmp_path / "results.md"
    page.write_text((ROOT / "docs/results.md").read_text())
    arm = next(arm for arm in GROUPS["core"] if arm.name == "labelled")
    for seed in range(2):
        folder = tmp_path / "runs" / str(seed)
        folder.mkdir(parents=True)
        run = result("labelled", seed, caption_colour=0.12546)  # .125; with the file's four digits .126
        run["definition"] = Run(arm, "shipped", seed, (), folder).definition
        (folder / RESULT).write_text(json.dumps(run))
    pages = []
    for work_dir in ("runs", "nothing"):
        arguments = ["--report", "--docs", str(tmp_path), "--work-dir", str(tmp_path / work_dir)]
        assert command.report(command.parse_args(arguments, "x")) == 0
        pages.append(page.read_text())
    assert pages[0] == pages[1]


def test_publishing_keeps_what_it_needs(tmp_path: Path) -> None:
    """Red when a figure is lost or rounded away on the way to the published file and back."""
    file = tmp_path / "results.json"
    runs = [result("labelled", 0, cycle_iou=0.123456), result("labelled", 1, cycle_iou=math.pi)]
    publish_runs(file, runs)
    assert [run["metrics"]["test"]["cycle_iou"] for run in read_published(file)] == [0.1235, 3.1416]
    assert read_published(tmp_path / "none.json") == []
    file.write_text("{}")
    with pytest.raises(DataError, match=r"results\.json"):
        read_published(file)


def test_the_latest_result_of_a_run_counts() -> None:
    """Red when a run that was made again counts twice, or the old figure stays."""
    old, new = [result("labelled", 0, cycle_iou=0.1)], [result("labelled", 0, cycle_iou=0.3)]
    found = merged(old, new, [{**result("labelled", 0), "arm": "gone"}])
    assert found.by_seed("shipped", "labelled", "test", "cycle_iou") == {0: 0.3}
    assert [run["arm"] for run in found.runs] == ["labelled", "gone"], "what is published stays"


def grid_of(arm: str, good: tuple[float, str]) -> list[dict[str, Any]]:
    runs = []
    for lr in RATES:
        for shape in SCHEDULES:
            figures = {"cycle_iou": 0.4 if (lr, shape) == good else 0.2, "refer_ciou": 0.5, "caption_grammar": 1.0}
            run = result(f"{arm}/lr_{lr:g}_{shape}", 0)
            run["metrics"] = {"val": figures, "val_heldout": figures}
            runs.append(run)
    return runs


def test_the_best_of_the_grid_is_frozen(tmp_path: Path) -> None:
    """Red when another point is taken, broken grammar wins, half a grid counts, or a choice can be made twice."""
    runs = grid_of("labelled", (3e-4, "cosine"))
    chosen = choose(Results(runs))
    assert chosen == {"shipped": {"labelled": {"lr": 3e-4, "shape": "cosine", "score": 0.45, "grammar_kept": True}}}
    file = tmp_path / "chosen.json"
    assert freeze(file, chosen) == freeze(file, chosen)
    assert json.loads(file.read_text()) == chosen
    for run in runs:
        if "lr_0.0003_cosine" in run["arm"]:
            run["metrics"]["val"]["caption_grammar"] = 0.5
    other = choose(Results(runs))
    assert other["shipped"]["labelled"]["lr"] != 3e-4 or other["shipped"]["labelled"]["shape"] != "cosine"
    with pytest.raises(ConfigError, match="made once"):
        freeze(file, other)
    assert choose(Results(runs[1:])) == {}
    with pytest.raises(ConfigError, match="--group grid"):
        freeze(file, {})


def test_a_run_is_checked_against_the_published_ones() -> None:
    """Red when a far figure passes, or one within the seeds' spread does not."""
    published = Results([result("labelled", seed, caption_colour=0.3 + 0.01 * seed) for seed in range(5)])
    good, bad = ([result("labelled", 0, caption_colour=value)] for value in (0.29, 0.5))
    (line,) = check(Results(good), published)
    assert line.inside
    assert "same seed 0.300" in line.text
    assert not check(Results(bad), published)[0].inside
    assert check(Results(good), Results([])) == []
    assert check(Results(bad), Results(good)) == [], "one seed has no spread, in which everything would lie"


def test_sections_are_those_of_the_page() -> None:
    """Red when the page lacks a generated part."""
    text = (ROOT / "docs/results.md").read_text()
    assert all(f"<!-- {name}: made by" in text for name in sections(Results([])))

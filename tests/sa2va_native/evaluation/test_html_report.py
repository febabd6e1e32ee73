"""The page of a report: what it says is what was measured, and nothing in the data becomes part of the page."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from pseudo_gumbel.cli.report import main
from sa2va_native.errors import DataError
from sa2va_native.evaluation.html_report import write_html
from sa2va_native.evaluation.prediction_writer import PredictionWriter
from sa2va_native.evaluation.report_lines import forgotten, headline, report_lines
from sa2va_native.evaluation.report_panels import draw_panels
from sa2va_native.evaluation.report_runs import find_run
from sa2va_native.evaluation.run_comparison import compare_runs
from sa2va_native.evaluation.scalar_logs import read_scalars
from tests.tiny import tiny_batch

HOSTILE = "</td><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;{{ 7 * 7 }}{% raw %}\ud800\u202e"
TRUE = {"colour": "red", "shape": "star", "size": "small", "texture": "plain"}


def predictions(rows: list[int], **more: Any) -> list[dict[str, Any]]:
    """An object of each kind for each number: that many of the 128 rows of its mask are found."""
    mask = np.ones((128, 128), bool)
    found = [np.arange(128)[:, None] < np.full((128, 128), count) for count in rows]
    common: dict[str, Any] = dict(attributes=TRUE, text="a red star", gt_mask=mask, source="val", stopped=True)
    kinds = {"refer": ("pred_mask", None), "cycle": ("cycle_mask", "a small red star")}
    return [
        {**common, "pred_mask": None, "cycle_mask": None, "caption": caption, "kind": kind, of: found[i]}
        | {"sample_id": f"object {i}", "picture_id": str(i), **more}
        for kind, (of, caption) in kinds.items()
        for i in range(len(rows))
    ]


def write(path: Path, samples: list[dict[str, Any]]) -> Path:
    """Predictions with the picture of each sample."""
    writer = PredictionWriter(path)
    for kind in ("refer", "cycle"):
        own = [sample for sample in samples if sample["kind"] == kind]
        writer.process({"batch": tiny_batch(kind, len(own))}, own)
    return path


class Page(HTMLParser):
    """The tags of a page, what it refers to, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)
        assert not self.open, "every tag is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_says_what_was_measured_and_needs_nothing_else(tmp_path: Path) -> None:
    """Red when a figure is another than the comparison's, or something is loaded from elsewhere."""
    readings = {"floor": (1, 4), "ceiling": (3, 4), "stranger": (2, 4)}
    paths = {
        name: write(tmp_path / name / "predictions.jsonl", predictions(rows, readings=readings))
        for name, rows in (("base", [20, 60, 90]), ("run", [40, 80, 128]))
    }
    main([*map(str, paths.values()), "--out", str(tmp_path / "out/report.html"), "--resamples", "50"])
    page = Page((tmp_path / "out/report.html").read_text())
    for row in compare_runs(paths, resamples=50):
        for run in paths:
            low, high = row.intervals[run]
            assert f"{row.values[run]:.3f}{low:.3f} to {high:.3f}" in page.text
        change = row.differences["run"]
        assert f"{change.value:+.3f}" in page.text
    assert "Floor: the same masks with another object's caption" in page.text
    own = sum([40, 80, 128]) / (3 * 128)
    assert f"{own - 0.5:.3f}" in page.text, "own reader minus stranger"
    assert "run: nothing is worse than in base" in page.text
    loaded = [value or "" for name, value in page.attributes if name in ("src", "href", "srcset", "action", "data")]
    assert loaded
    assert all(value.startswith("data:image/") for value in loaded)
    assert page.tags.isdisjoint({"script", "link", "iframe", "object", "form"})
    assert "url(" not in (tmp_path / "out/report.html").read_text()


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    """Red when a caption, a text, a source or a run's name becomes markup, or ends the page with an encoding error."""
    samples = predictions([64, 100], caption=HOSTILE, text=HOSTILE, source=HOSTILE.replace("/", "").split("{%")[0])
    path = tmp_path / "predictions.jsonl"
    write(path, samples)
    write_html(tmp_path / "report.html", {HOSTILE: find_run(path)}, HOSTILE, 10)
    page = Page((tmp_path / "report.html").read_text())
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") > 4
    assert "{{ 7 * 7 }}" in page.text


def test_over_seeds_the_interval_is_that_of_student(tmp_path: Path) -> None:
    """Red when samples of all seeds are pooled, or differences are not those of the same seed."""
    found = {"base": [[20, 60], [30, 70], [25, 80]], "run": [[60, 100], [80, 110], [50, 128]]}
    for run, seeds in found.items():
        for seed, rows in enumerate(seeds):
            write(tmp_path / run / f"seed_{seed}/predictions.jsonl", predictions(rows))
    runs = {run: find_run(tmp_path / run) for run in found}
    assert list(runs["run"].seeds) == ["seed_0", "seed_1", "seed_2"]
    lines = report_lines({run: one.seeds for run, one in runs.items()}, resamples=5)
    line = next(line for line in lines if line.figure == "refer_giou")
    values = {run: [statistics.fmean(rows) / 128 for rows in seeds] for run, seeds in found.items()}
    changes = [ours - theirs for ours, theirs in zip(values["run"], values["base"], strict=True)]
    student = 4.302653  # of 2 degrees of freedom, from a table
    for got, expected in ((line.cells["run"], values["run"]), (line.changes["run"], changes)):
        half = student * statistics.stdev(expected) / 3**0.5
        mean = statistics.fmean(expected)
        assert got[:3] == pytest.approx((mean, mean - half, mean + half), abs=1e-6)
    write_html(tmp_path / "report.html", runs, resamples=5)
    assert "run (seed_0, seed_1, seed_2)" in Page((tmp_path / "report.html").read_text()).text
    # A base of one seed: each seed's difference from it.
    alone = {"base": {"": tmp_path / "base/seed_0/predictions.jsonl"}, "run": runs["run"].seeds}
    line = next(line for line in report_lines(alone, resamples=5) if line.figure == "refer_giou")
    assert line.changes["run"].value == pytest.approx(statistics.fmean(values["run"]) - values["base"][0])


def test_other_seeds_than_the_base_has_are_refused(tmp_path: Path) -> None:
    """Red when differences of other seeds are taken for paired ones."""
    for place in ("base/seed_0", "base/seed_1", "run/seed_1", "run/seed_2"):
        write(tmp_path / place / "predictions.jsonl", predictions([20, 60]))
    runs = {run: find_run(tmp_path / run).seeds for run in ("base", "run")}
    with pytest.raises(DataError, match="base has the seeds seed_0, seed_1, run has seed_1, seed_2"):
        report_lines(runs)
    with pytest.raises(DataError, match=r"nowhere holds no predictions\.jsonl.*tools/test\.py --predictions"):
        find_run(tmp_path / "nowhere")


def test_what_is_forgotten_is_named(tmp_path: Path) -> None:
    """Red when a figure whose whole interval lies below zero is passed over, or one within noise is counted."""
    rows = {"base": [100, 90, 110, 95], "worse": [20, 30, 25, 10], "same": [100, 90, 110, 95]}
    paths = {run: {"": write(tmp_path / run / "predictions.jsonl", predictions(rows[run]))} for run in rows}
    lines = report_lines(paths, resamples=100)
    assert {"refer_ciou", "refer_giou", "cycle_iou"} <= {line.figure for line in forgotten(lines, "worse")}
    assert not {"caption_colour", "refer_t_acc"} & {line.figure for line in forgotten(lines, "worse")}
    assert forgotten(lines, "same") == []
    assert headline(lines, "same", "base") == f"same against base: {_none(lines)}."
    assert "most of all refer_p50 on val (-1.000)" in headline(lines, "worse", "base")


def _none(lines: list[Any]) -> str:
    count = sum("same" in line.changes for line in lines)
    return f"better in 0 of {count} figures; worse in 0 of {count} figures"


def test_panels_show_the_best_the_worst_and_what_changed_most(tmp_path: Path) -> None:
    """Red when objects are chosen by the first run, one picture fills a panel, or pictures are lost by a move."""
    base, run = [100, 10, 64, 70, 20], [110, 5, 128, 75, 120]
    samples = {"base": predictions(base), "run": predictions(run)}
    for own in samples.values():
        for sample in own:  # object 2 and object 4 are in one picture
            sample["picture_id"] = sample["picture_id"].replace("4", "2")
    for name, own in samples.items():
        write(tmp_path / "before" / name / "predictions.jsonl", own)
    shutil.move(tmp_path / "before", tmp_path / "after")
    paths = {name: tmp_path / "after" / name / "predictions.jsonl" for name in samples}
    panels = {panel.title: panel for panel in draw_panels(paths, objects=2) if panel.kind == "refer"}
    notes = {title: [[tile.note for tile in one.tiles] for one in panel.objects] for title, panel in panels.items()}
    assert notes["best"] == [["IoU 0.50", "IoU 1.00"], ["IoU 0.78", "IoU 0.86"]]
    assert notes["worst"][0] == ["IoU 0.08", "IoU 0.04"]
    assert notes["most changed"][0] == ["IoU 0.16", "IoU 0.94"]
    assert notes["most changed"][1] != ["IoU 0.50", "IoU 1.00"], "of the same picture"


def test_curves_are_read_from_every_log_of_a_run(tmp_path: Path) -> None:
    """Red when a resumed run's second log is lost, an old point wins, or a killed run's half line is an error."""
    first, second = tmp_path / "1/vis_data", tmp_path / "2/vis_data"
    for folder, steps in ((first, (2, 4, 6)), (second, (6, 8))):
        folder.mkdir(parents=True)
        lines = [json.dumps({"loss": step + len(steps), "lr": 1, "step": step, "note": "text"}) for step in steps]
        (folder / "scalars.json").write_text("\n".join(lines) + '\n{"loss": 0.')
    assert read_scalars(tmp_path)["loss"] == [(2, 5), (4, 7), (6, 8), (8, 10)]
    with SummaryWriter(tmp_path / "3/vis_data") as log:
        log.add_scalar("val/refer_ciou", 0.5, 8)
    assert read_scalars(tmp_path)["val/refer_ciou"] == [(8, 0.5)]
    path = write(tmp_path / "predictions.jsonl", predictions([64]))
    write_html(tmp_path / "report.html", {"run": find_run(path)}, resamples=5)
    text = (tmp_path / "report.html").read_text()
    assert re.findall(r"<figcaption>([^<]+)</figcaption><img", text) == ["loss", "val/refer_ciou"]


def _chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no chromium or google-chrome on the path: a page is not opened without a browser")
    return found


@pytest.mark.slow
def test_a_browser_opens_it_on_a_phone(tmp_path: Path) -> None:
    """Red when the page asks the network, a script fails, or it is wider than a phone and must be moved sideways."""
    browser = _chromium()
    long = "a_very_long_name_of_a_run_without_any_space_in_it_" * 3
    for name, rows in ((long, [20, 60, 90]), ("run", [40, 80, 128]), ("other", [30, 80, 100]), ("fourth", [1, 2, 3])):
        write(tmp_path / name / "predictions.jsonl", predictions(rows, caption=f"{HOSTILE} {long}"))
    runs = {path.name: find_run(path) for path in sorted(tmp_path.iterdir())}
    write_html(tmp_path / "report.html", runs, "Four runs", 20)
    page = (tmp_path / "report.html").read_text()
    # In a frame as wide as a phone, as the window of a browser cannot be: its parent looks at it from outside.
    frame = page.replace("&", "&amp;").replace('"', "&quot;")
    look = (
        "const d = document.querySelector('iframe').contentDocument;"
        "document.body.dataset.wide = d.documentElement.scrollWidth;"
        "document.body.dataset.tall = d.documentElement.scrollHeight;"
        "document.body.dataset.broken = [...d.images].filter(one => !one.naturalWidth).length"
    )
    (tmp_path / "phone.html").write_text(
        f'<!DOCTYPE html><body><iframe width="390" height="800" style="border:0" srcdoc="{frame}"></iframe>'
        f"<script>onload = () => {{ {look} }}</script></body>"
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
    options += ["--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}"]
    options += ["--enable-logging=stderr", "--dump-dom"]
    for name in ("phone", "report"):
        done = subprocess.run(
            [browser, *options, (tmp_path / f"{name}.html").as_uri()], capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        assert not said, "the page's policy refuses every request and script, and the browser would say so here"
        if name == "phone":
            measured = dict(re.findall(r'data-(wide|tall|broken)="(\d+)"', done.stdout))
            assert measured["wide"] == "390"
            assert int(measured["tall"]) > 3000
            assert measured["broken"] == "0"

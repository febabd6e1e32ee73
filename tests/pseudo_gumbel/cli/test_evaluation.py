"""From a config to figures, predictions and a comparison, with the commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pseudo_gumbel.cli import compare_runs
from pseudo_gumbel.cli import test as test_command
from sa2va_native.errors import ConfigError

CONFIG = """\
from mmengine.config import read_base

with read_base():
    from pseudo_gumbel.configs.sa2va_tiny import *

from sa2va_native.evaluation.caption_metric import CaptionMetric
from sa2va_native.evaluation.referring_details import (
    ReferringBoundary,
    ReferringPrecision,
    ReferringSizes,
    ReferringTargets,
)

test_dataloader["batch_size"] = 4
test_dataloader["dataset"]["sources"] = [
    dict(
        kind=kind,
        name=kind,
        max_samples=9,
        dataset=dict(type=SceneExpressions, split="test", root={root!r}, settings=dict(sizes={sizes!r})),
    )
    for kind in ("refer", "caption")
]
_metrics = (ReferringMetric, ReferringPrecision, ReferringSizes, ReferringTargets, ReferringBoundary)
test_evaluator = [dict(type=metric, source="refer") for metric in _metrics]
test_evaluator.append(dict(type={of_captions}, source="caption"))
"""
SIZES = {"labelled": 2, "mask_only": 2, "test": 4}


@pytest.mark.slow
def test_captions_and_expressions_are_scored_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Red when a figure of the comparison is not the evaluation's, or a source without a metric is predicted."""
    monkeypatch.chdir(tmp_path)
    config, root = tmp_path / "mine.py", str(tmp_path / "scenes")
    config.write_text(CONFIG.format(root=root, sizes=SIZES, of_captions="ReferringMetric"))
    with pytest.raises(ConfigError, match=r"'caption' of kind 'caption'.*such as CaptionMetric"):
        test_command.main([str(config), "--debug"])

    config.write_text(CONFIG.format(root=root, sizes=SIZES, of_captions="CaptionMetric"))
    for run, options in (("one", []), ("other", ["--cfg-options", "model.max_new_tokens=2"])):
        kept = ["--predictions", f"{run}/predictions.jsonl", "--out", f"{run}/metrics.json"]
        test_command.main(
            [str(config), *kept, *options, "--debug", "--show-dir", f"{run}/shown", "--show-samples", "2"]
        )
        assert {path.name.rpartition("_")[0] for path in Path(run, "shown").iterdir()} == {
            "refer_refer",
            "caption_caption",
        }
        assert len(list(Path(run, "shown").iterdir())) == 4
    reported = json.loads(Path("one/metrics.json").read_text())
    assert reported["caption/caption_agreement"] >= 0

    capsys.readouterr()
    compare_runs.main(["one", "other", "--out", "rows.json", "--debug"])
    rows = json.loads(Path("rows.json").read_text())
    for row in rows:
        assert row["values"]["one"] == pytest.approx(reported[f"{row['source']}/{row['figure']}"], abs=1e-12)
        assert 1 < row["pictures"] <= 4
    said = {row["figure"]: row["differences"]["other"] for row in rows}
    assert said["caption_length"]["high"] < 0
    assert said["caption_stop_rate"]["verdict"] == "worse"
    assert "caption_length" in capsys.readouterr().out

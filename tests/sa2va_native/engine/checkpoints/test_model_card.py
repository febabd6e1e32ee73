"""The model card of an export, and its way to the hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from sa2va_native.checkpoints import hub
from sa2va_native.checkpoints.importing import open_source
from sa2va_native.engine.checkpoints.model_card import metrics_beside, model_card, read_metrics, write_card
from sa2va_native.errors import CheckpointError, ConfigError, DataError
from sa2va_native.files.paths import ROOT

BASE = "assets/tiny/sa2va_tiny.safetensors"


def card(folder: Path, config: str = "word_trials_tiny", metrics: dict | None = None) -> str:
    cfg = Config.fromfile(ROOT / f"configs/{config}.py")
    return model_card(folder, [open_source(BASE)], f"configs/{config}.py", cfg, metrics)


@pytest.mark.parametrize("config", ["word_trials_tiny", "sa2va_tiny", "pseudo_gumbel_4b"])
def test_a_card_tells_sources_settings_data_and_how_to_load(tmp_path: Path, config: str) -> None:
    """Red when a part is missing, a template's field is left, or a folder of this machine is told to strangers."""
    text = card(tmp_path / "my-model", config)
    assert text.startswith("---\npipeline_tag: ")
    for part in ("# my-model\n", "- `sa2va_tiny.safetensors`: this project", f"Config `{config}`", "- `refer`: ",
                 'load_inference("my-model")', "None are at hand", "Apache-2.0"):  # fmt: skip
        assert part in text
    if config != "sa2va_tiny":
        assert "- `cycle`: " in text
    assert str(ROOT) not in text
    assert "<class" not in text


def test_a_card_has_the_results(tmp_path: Path) -> None:
    """Red when they are those of another checkpoint of the work dir."""
    metrics = {"checkpoint": str(tmp_path / "iter_8.pth"), "test/refer_ciou": 0.51237, "test/samples": 300}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    assert metrics_beside(tmp_path / "iter_8.pth") == read_metrics(tmp_path / "metrics.json") == metrics
    assert metrics_beside(tmp_path / "iter_4.pth") is metrics_beside(tmp_path / "none/iter_8.pth") is None
    text = card(tmp_path, metrics=metrics)
    assert "| `test/refer_ciou` | 0.5124 |\n| `test/samples` | 300 |" in text
    assert "None are at hand" not in text
    (tmp_path / "metrics.json").write_text("[1]")
    with pytest.raises(DataError, match=r"holds a list\. Give what pseudo-gumbel test --out wrote"):
        read_metrics(tmp_path / "metrics.json")


def test_the_code_of_sa2va_is_named_only_where_it_fits(tmp_path: Path) -> None:
    """Red when a card sends its reader to code that builds another SAM 2."""
    (tmp_path / "config.json").write_text("{}")
    assert "AutoModel.from_pretrained" in card(tmp_path)
    for other in ('{"sam2_config": {}}', '{"sam2_hiera": {"embed_dim": 96}}'):
        (tmp_path / "config.json").write_text(other)
        assert "AutoModel" not in card(tmp_path)


def test_the_card_of_the_base_is_kept(tmp_path: Path) -> None:
    """Red when the licence of the base weights is overwritten."""
    (tmp_path / "README.md").write_text("of the base")
    write_card("ours", tmp_path)
    assert (tmp_path / "README.md").read_text() == "ours"
    assert (tmp_path / "README_base.md").read_text() == "of the base"


def test_a_push_without_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when an export of hours ends in a traceback. Nothing is sent: the client is told that it is offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="is written, but not pushed to you/my-sa2va") as raised:
        hub.push(tmp_path, "you/my-sa2va")
    assert "\n" not in str(raised.value)
    assert f"hf upload you/my-sa2va {tmp_path}" in str(raised.value)
    with pytest.raises(ConfigError, match="--push a/b/c: no name of a repository"):
        hub.require_repo("a/b/c")


def test_an_export_has_a_card_and_ordinary_modes(tmp_path: Path) -> None:
    """Red when a file of the directory can be read by its owner alone."""
    from pseudo_gumbel.cli import convert_checkpoint

    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    convert_checkpoint.main([BASE, str(tmp_path / "tiny"), "--config", "sa2va_tiny"])
    files = {file.name: file.stat().st_mode for file in (tmp_path / "tiny").iterdir()}
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= files.keys()
    assert set(files.values()) == {ordinary.stat().st_mode}

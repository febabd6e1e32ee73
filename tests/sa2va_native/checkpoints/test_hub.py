"""Weights by their name on the hub: out of its cache, without a network."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sa2va_native.checkpoints.hub import local_weights
from sa2va_native.checkpoints.importing import open_source
from sa2va_native.engine.run import launch
from sa2va_native.errors import CheckpointError
from sa2va_native.files.paths import ROOT


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a machine without a network, which holds ``me/Tiny``."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    repository, commit = tmp_path / "hub/models--me--Tiny", "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    shutil.copy(ROOT / "assets/tiny/sa2va_tiny.safetensors", repository / "snapshots" / commit / "model.safetensors")
    return repository / "snapshots" / commit


@pytest.mark.parametrize("download", [True, False])
def test_a_name_that_is_in_the_cache_is_found_there(cache: Path, download: bool) -> None:
    """Red when weights that are on the machine are asked for again, or a config gets the name instead of the folder."""
    assert local_weights("me/Tiny", download) == str(cache)
    cfg = launch.read_config("sa2va_tiny")
    launch.use_weights(cfg, ["me/Tiny"], download)
    assert cfg.model.weights == [str(cache)]
    assert open_source(cfg.model.weights[0]).layout.name == "own"


@pytest.mark.parametrize(("download", "why"), [(True, "offline"), (False, "a dry run downloads nothing")])
def test_a_name_that_cannot_be_had_tells_the_command(cache: Path, download: bool, why: str) -> None:
    """Red when it ends in a traceback of the hub, or as a path that is missing."""
    command = "`hf download ByteDance/Sa2VA-4B --local-dir Sa2VA-4B`, and give --weights Sa2VA-4B"
    with pytest.raises(CheckpointError) as told:
        local_weights("ByteDance/Sa2VA-4B", download)
    assert why in str(told.value)
    assert command in str(told.value)
    assert "\n" not in str(told.value)


def test_a_path_is_never_looked_for_on_the_hub(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when a folder that is there, or a file that is missing, is downloaded."""
    monkeypatch.chdir(tmp_path)
    Path("me/Tiny").mkdir(parents=True)
    paths = (
        "me/Tiny",
        "weights/missing.pt",
        "a/b/c",
        str(tmp_path / "x"),
        "../Tiny",
        "Sa2VA-4B",
        "assets/tiny/sa2va_tiny.safetensors",
    )
    assert [local_weights(path) for path in paths] == list(paths)

"""Configs by name and by path, and what else is found from any folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from sa2va_native.engine.config.find_config import find_config, is_config, shipped_configs
from sa2va_native.engine.run.launch import load_config
from sa2va_native.errors import ConfigError
from sa2va_native.files.paths import ROOT, cache_folder, resolve


@pytest.mark.parametrize("name", ["ablations/soft_words", "ablations/soft_words.py", "configs/ablations/soft_words.py"])
def test_a_shipped_config_is_found_by_its_name_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when a config is looked for in the current folder alone, or its bases are."""
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == ROOT / "configs/ablations/soft_words.py"
    cfg = load_config(name)
    assert cfg.work_dir == "work_dirs/soft_words"
    assert resolve(cfg.model.sa2va.weights).is_file()


def test_a_file_comes_before_a_shipped_config_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when one's own config is silently replaced; a folder, as a work dir may be called, is none."""
    monkeypatch.chdir(tmp_path)
    Path("pseudo_gumbel_tiny").mkdir()
    assert find_config("pseudo_gumbel_tiny") == ROOT / "configs/pseudo_gumbel_tiny.py"
    Path("sa2va_tiny.py").touch()
    assert find_config("sa2va_tiny.py") == Path("sa2va_tiny.py")


def test_a_wrong_name_tells_the_nearest() -> None:
    """Red when a slip is answered by a list, or a base that is not a config by itself is offered."""
    with pytest.raises(ConfigError, match=r"psuedo_gumbel_tiny does not exist\. Did you mean 'pseudo_gumbel_tiny'"):
        find_config("psuedo_gumbel_tiny")
    assert not [name for name in shipped_configs() if name.startswith("_base_")]


def test_a_name_that_is_a_folder_of_data_means_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when `check-data sa2va_tiny` reads a config although a folder of that name exists."""
    monkeypatch.chdir(tmp_path)
    assert is_config("sa2va_tiny")
    assert is_config("mine.py")
    assert not is_config("nothing")
    Path("sa2va_tiny").mkdir()
    assert not is_config("sa2va_tiny")


def test_a_file_that_is_nowhere_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when an error names a path inside the installation that the user did not give."""
    monkeypatch.chdir(tmp_path)
    assert resolve("mine.safetensors") == Path("mine.safetensors")
    assert resolve("assets/tiny/tokenizer") == ROOT / "assets/tiny/tokenizer"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PSEUDO_GUMBEL_CACHE": "/a/b", "XDG_CACHE_HOME": "/c"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/pseudo-gumbel"),
        ({"HOME": "/h"}, "/h/.cache/pseudo-gumbel"),
    ],
)
def test_where_generated_data_go(variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when they land in the folder that a command happens to be called from."""
    for name in ("PSEUDO_GUMBEL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)

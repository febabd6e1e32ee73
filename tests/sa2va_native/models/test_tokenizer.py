"""Tokenizers of a folder: read as data, never as code."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from sa2va_native.errors import ConfigError
from sa2va_native.files.paths import ROOT
from sa2va_native.models.tokenizer import load_tokenizer


@pytest.mark.parametrize("file", ["tokenizer_config.json", "config.json"])
def test_a_tokenizer_never_runs_or_offers_to_run_its_code(tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch):
    """Red when the code of a folder is run, or the user is asked whether it should be."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the user was asked"))
    folder, trace = tmp_path / "tokenizer", tmp_path / "trace"
    shutil.copytree(ROOT / "assets/tiny/tokenizer", folder)
    (folder / "evil.py").write_text(f"open({str(trace)!r}, 'w')\nclass Evil: pass\nclass EvilConfig: pass\n")
    auto = {"AutoTokenizer": ["evil.Evil", "evil.Evil"], "AutoConfig": "evil.EvilConfig"}
    settings = {"auto_map": auto, "tokenizer_class": "Evil", "model_type": "evil"}
    if file == "config.json":
        (folder / "tokenizer_config.json").unlink()
        settings.pop("tokenizer_class")
    (folder / file).write_text(json.dumps(settings))
    with suppress(ConfigError):  # where transformers has no class of its own
        load_tokenizer(str(folder))
    assert not trace.exists()


def test_a_broken_tokenizer_is_one_line(tmp_path: Path):
    """Red when it ends in a traceback of the tokenizer's library."""
    shutil.copytree(ROOT / "assets/tiny/tokenizer", tmp_path / "tokenizer")
    (tmp_path / "tokenizer/tokenizer.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_tokenizer(str(tmp_path / "tokenizer"))

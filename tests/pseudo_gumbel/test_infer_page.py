"""The Python of docs/infer.md and docs/checkpoints.md runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pseudo_gumbel.cli import convert_checkpoint
from sa2va_native.files.paths import ROOT

PAGE = ROOT / "docs/checkpoints.md"


def run_blocks(page: str) -> dict[str, Any]:
    """The Python blocks of a page that load a model, one after another, and the names that they leave."""
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text(), flags=re.M | re.S):
        if "load_inference" in block:
            exec(compile(block, page, "exec"), names)
    return names


def test_an_exported_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when what the page exports cannot be loaded as the page loads it."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"^tools/convert_checkpoint.py (assets/tiny.*?) +#", PAGE.read_text(), flags=re.M)
    convert_checkpoint.main(command.split())
    names = run_blocks("checkpoints.md")
    assert names["masks"][0].any()
    assert names["clip"].shape == (5, 128, 128)
    assert names["captions"][0].startswith("a ")


def test_ask_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when a method or a file of the page has another name, or a result is not what its comment says."""
    monkeypatch.chdir(ROOT)
    names = run_blocks("infer.md")
    true = np.asarray(Image.open("docs/images/scene.png").convert("RGB")).astype(int)
    for mask in (names["mask"], names["masks"][0]):
        assert mask.shape == names["region"].shape == (128, 128)
        assert np.abs(true[mask].mean(0) - (224, 34, 51)).max() < 40
    assert names["clip"].shape == (5, 128, 128)
    assert all(caption.startswith("a ") for caption in names["captions"])
    assert names["led"].caption == names["captions"][1]

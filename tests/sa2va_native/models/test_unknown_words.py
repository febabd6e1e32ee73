"""Words that a tokenizer does not know are found as the prompts would lose them, and told."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from sa2va_native.datasets.adapters.own_data import OwnData
from sa2va_native.datasets.check import Region, check_set, format_report
from sa2va_native.engine.config.sources import words_of
from sa2va_native.engine.plan.dry_run import check_data
from sa2va_native.engine.run import launch
from sa2va_native.hooks.unknown_words_hook import UnknownWordsHook
from sa2va_native.models.tokenizer import load_tokenizer
from sa2va_native.models.unknown_words import UnknownWords, describe_unknown, unknown_words_of
from tests.sa2va_native.datasets.adapters.test_own_data import SQUARE

TINY = "assets/tiny/tokenizer"
TEXTS = ["the tomato tile", "a red circle.", "a Red tile-star"]
TOLD = "the tokenizer does not know 3 words, which are lost in 2 of 3 texts: tile (2), tomato (1), - (1)"


@pytest.fixture(scope="module")
def find() -> UnknownWords:
    found = unknown_words_of(load_tokenizer(TINY))
    assert found is not None
    return found


def test_each_unknown_token_is_a_word_of_the_text(find: UnknownWords) -> None:
    """Red when a word is told that the prompts keep, or one that they lose is not."""
    tokenizer = load_tokenizer(TINY)
    for text in (*TEXTS, " a stuffed teddy bear with a red ribbon", "[SEG] <|end|> café", ""):
        ids = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        assert len(find(text)) == ids.count(tokenizer.unk_token_id)
        assert all(word in text for word in find(text))
    assert [find(text) for text in TEXTS] == [["tomato", "tile"], [], ["tile", "-"]]
    assert describe_unknown(find, TEXTS) == TOLD
    assert describe_unknown(find, ["a red circle"]) is None


def test_a_tokenizer_of_bytes_knows_everything() -> None:
    """Red when Qwen's tokens for rare words are told to be lost, or every text of a 4B run is read for nothing."""
    assert unknown_words_of(load_tokenizer("internvl2_5")) is None
    assert words_of("sa2va_4b") is None


@pytest.fixture
def own(tmp_path: Path) -> Path:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    record = {"image": "a.png", "mask": SQUARE, "text": TEXTS}
    (tmp_path / "data.jsonl").write_text(json.dumps(record) + "\n" + json.dumps({"image": "a.png", "mask": SQUARE}))
    return tmp_path / "data.jsonl"


def test_the_check_counts_them(own: Path) -> None:
    """Red when texts that the model cannot read pass the check without a word."""
    data = OwnData(own)
    report = check_set(data, range(len(data)), Region(), find_unknown=words_of("sa2va_tiny"))
    assert f"  note: {TOLD}" in format_report(report, len(data), Region()).splitlines()
    assert "does not know" not in format_report(check_set(data, range(4), Region()), 4, Region())
    assert words_of(str(own)) is None


def test_the_dry_run_tells_them(own: Path) -> None:
    """Red when a run begins to train on texts of which it cannot read a word."""
    cfg = launch.load_config("sa2va_tiny")
    cfg.train_dataloader.dataset.sources = [dict(kind="refer", dataset=dict(type="OwnData", path=str(own)))]
    found = check_data(cfg, 1)
    assert not found.problems
    assert TOLD in found.facts


def test_the_log_tells_the_first_and_counts_all() -> None:
    """Red when the words are told at every step, only at the end, or of one rank alone."""
    logged: list[str] = []
    model = torch.nn.Module()
    model.tokenizer = load_tokenizer(TINY)  # type: ignore[assignment]
    runner: Any = SimpleNamespace(model=model, logger=SimpleNamespace(warning=logged.append))
    hook = UnknownWordsHook()
    hook.before_train(runner)
    for text in TEXTS:
        hook.after_train_iter(runner, 0, {"batch": SimpleNamespace(text=[text])})
        hook.after_train_iter(runner, 0, {"batch": SimpleNamespace(text=[None])})
    hook.after_train(runner)
    assert logged == [
        "The tokenizer does not know 'tomato', 'tile' of the text 'the tomato tile': these words are lost. The end of "
        "the log counts all of them.",
        f"Texts trained on: {TOLD}",
    ]
    runner.model = torch.nn.Linear(1, 1)
    hook.before_train(runner)
    hook.after_train_iter(runner, 0, {"batch": SimpleNamespace(text=TEXTS)})
    assert hook.texts == 3, "a model without a tokenizer reads no text"

"""``--cfg-options`` in MMEngine's syntax; what does not fit is one line."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from mmengine.config import Config

from sa2va_native.engine.config.options import DictAction, merge_options
from sa2va_native.errors import ConfigError


def parse(*options: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--cfg-options", nargs="+", action=DictAction)
    return parser.parse_args(["--cfg-options", *options]).cfg_options


def test_values_are_those_of_mmengine_but_quotes_keep_a_string() -> None:
    """Red when a path with a comma cannot be given."""
    given = parse("a=1", "b=1.5", "c=x,y", "d=[(1,2),3]", "e=None", 'f="x, y"', "g='1'", "h=k=v")
    assert given == {
        "a": 1, "b": 1.5, "c": ["x", "y"], "d": [(1, 2), 3], "e": None, "f": "x, y", "g": "1", "h": "k=v",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "reason"), [("a", "a: expected KEY=VALUE"), ("=1", "=1: expected"), ("a=[2", "a=.2: brackets do not")]
)
def test_a_malformed_option_is_named(option: str, reason: str) -> None:
    """Red when it ends in a traceback."""
    with pytest.raises(argparse.ArgumentError, match=f"--cfg-options: {reason}"):
        parse(option)


def test_entries_of_dicts_and_lists_are_set() -> None:
    cfg = Config({"a": {"b": [{"c": 1}, {"c": 2}]}})
    merge_options(cfg, {"a.b.1.c": 3, "a.new.key": 4})
    assert cfg.to_dict() == {"a": {"b": [{"c": 1}, {"c": 3}], "new": {"key": 4}}}


def test_a_launcher_is_not_an_option_of_the_config() -> None:
    """Red when it is replaced in silence by that of --launcher."""
    with pytest.raises(ConfigError, match=r"--cfg-options launcher=pytorch: .* is said with --launcher"):
        merge_options(Config({"a": 1}), {"launcher": "pytorch"})


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("a.b.5.c", "a.b is a list of 2 entries, numbered from 0, and has no 5"),
        ("a.b.x", "a.b is a list of 2 entries, numbered from 0, and has no x"),
        ("a.b.0.c.d", "a.b.0.c is 1, which has no entries"),
        ("a.b.0", "a.b.0 has entries of its own. Set one of them, e.g. a.b.0.c=..."),
        ("a", "a has entries of its own. Set one of them, e.g. a.b=..."),
    ],
)
def test_a_key_that_leads_nowhere_is_named(key: str, reason: str) -> None:
    """Red when it ends in a KeyError or TypeError of MMEngine."""
    with pytest.raises(ConfigError, match=f"--cfg-options {key}=7: {reason}"):
        merge_options(Config({"a": {"b": [{"c": 1}, {"c": 2}]}}), {key: 7})

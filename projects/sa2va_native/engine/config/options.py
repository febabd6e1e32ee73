"""``--cfg-options KEY=VALUE``: MMEngine's syntax, with one-line errors."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import mmengine.config

from sa2va_native.errors import ConfigError


class DictAction(mmengine.config.DictAction):
    """MMEngine's action. A value in quotes stays a string, e.g. ``'KEY="a,b"'``; without them it is a list."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Adds the options to those given so far."""
        options = dict(getattr(namespace, self.dest, None) or {})
        for given in values or ():
            key, equals, text = given.partition("=")
            if not equals or not key:
                raise argparse.ArgumentError(self, f"{given}: expected KEY=VALUE")
            quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
            if not quoted and any(text.count(left) != text.count(right) for left, right in ("()", "[]")):
                raise argparse.ArgumentError(self, f"{given}: brackets do not match")
            options[key] = text[1:-1] if quoted else self._parse_iterable(text)
        setattr(namespace, self.dest, options)


def merge_options(cfg: Any, options: Mapping[str, Any]) -> None:
    """Sets values in a config; a new key of a dict is added, and left to the config check.

    Raises:
        ConfigError: a list has no such entry, a key leads into a value that is not a dict or list, a value would take
            the place of a dict, or an option of its own would replace it.
    """
    if "launcher" in options:
        raise ConfigError(
            f"--cfg-options launcher={options['launcher']}: who started the ranks is said with --launcher, which would "
            "replace it. Give that instead."
        )
    for key, value in options.items():
        _require_place(cfg, key, value)
        cfg.merge_from_dict({key: value})


def _require_place(cfg: Any, key: str, value: Any) -> None:
    where, done, option = cfg, "", f"--cfg-options {key}={value}"
    for name in key.split("."):
        if isinstance(where, (list, tuple)):
            if not name.isdecimal() or int(name) >= len(where):
                raise ConfigError(
                    f"{option}: {done} is a list of {len(where)} entries, numbered from 0, and has no {name}."
                )
            where = where[int(name)]
        elif hasattr(where, "get"):
            where = where.get(name)
            if where is None:
                return
        else:
            raise ConfigError(f"{option}: {done} is {where!r}, which has no entries.")
        done = f"{done}.{name}" if done else name
    if isinstance(where, dict) and where and value is not None and not isinstance(value, dict):
        entry = next(iter(where))
        raise ConfigError(f"{option}: {key} has entries of its own. Set one of them, e.g. {key}.{entry}=...")

"""Which file of a config's inheritance set each of its values."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sa2va_native.engine.config.find_config import find_config
from sa2va_native.engine.config.reading import base_file, base_statements, parse_config

#: Where a value is in a config: keys of dicts and indices of lists.
Place = tuple[str | int, ...]


def leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value inside that is not a dict or list, or is an empty one, with its place."""
    entries = _entries(value)
    if not entries:
        yield place, value
    for key, entry in entries.items():
        yield from leaves(entry, (*place, key))


def provenance(path: str | Path) -> dict[Place, Path]:
    """The file that set each leaf of a lazy config last.

    The file and its bases are run as Python. A dict of a base that a child only moves elsewhere, as the method does
    with the base model, keeps the origins of its values; a value that a child sets to what it was keeps its origin too.

    Raises:
        ConfigError: see :func:`sa2va_native.engine.config.reading.base_file`.
    """
    origins = _Origins()
    names = _run(find_config(path), origins)
    places = [place for name, value in names.items() for place, _ in leaves(value, (name,))]
    return {place: origins.of(names, place) for place in places}


def run_config(path: str | Path) -> dict[str, Any]:
    """The names of a config, private ones included, with the dicts that Python made.

    Raises:
        ConfigError: see :func:`sa2va_native.engine.config.reading.base_file`.
    """
    return _run(find_config(path), _Origins())


class _Origins:
    """Who put each entry into each dict and list."""

    def __init__(self) -> None:
        #: id of a container -> itself, which keeps the id taken, and its entries as last seen with their files
        self._seen: dict[int, tuple[Any, dict[Any, tuple[Any, Path]]]] = {}

    def note(self, container: Any, file: Path) -> None:
        """Everything inside that was not there before comes from ``file``."""
        _, before = self._seen.get(id(container), (None, {}))
        now = {}
        for key, value in _entries(container).items():
            was = before.get(key)
            now[key] = was if was is not None and was[0] is value else (value, file)
            self.note(value, file)
        self._seen[id(container)] = (container, now)

    def carry(self, source: dict[str, Any], name: str, target: dict[str, Any], new_name: str) -> None:
        """A name of a base becomes one of a child, and its origin with it."""
        target[new_name] = source[name]
        _, entries = self._seen.setdefault(id(target), (target, {}))
        entries[new_name] = self._seen[id(source)][1][name]

    def of(self, container: Any, place: Place) -> Path:
        """The file that set the innermost entry of a place."""
        for key in place[:-1]:
            container = container[key]
        return self._seen[id(container)][1][place[-1]][1]


def _run(path: Path, origins: _Origins) -> dict[str, Any]:
    """The names of a config. As in MMEngine each file runs its bases anew, and ``*`` takes private names too."""
    tree = parse_config(path)
    names: dict[str, Any] = {}
    for base in base_statements(path, tree):
        inherited = _run(base_file(path, base), origins)
        for alias in base.names:
            for name in inherited if alias.name == "*" else [alias.name]:
                origins.carry(inherited, name, names, alias.asname or name)
    own = [statement for statement in tree.body if not isinstance(statement, ast.With)]
    exec(compile(ast.Module(own, []), str(path), "exec"), names)  # a config is code; MMEngine runs it as well
    del names["__builtins__"]
    origins.note(names, path)
    return names


def _entries(value: Any) -> dict[Any, Any]:
    if isinstance(value, dict):
        return value
    return dict(enumerate(value)) if isinstance(value, (list, tuple)) else {}

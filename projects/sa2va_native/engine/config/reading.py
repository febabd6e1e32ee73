"""Reads a config file into MMEngine's ``Config``; an error is one line with file, line number and remedy."""

from __future__ import annotations

import ast
import importlib.util
import linecache
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from sa2va_native.errors import ConfigError, did_you_mean
from sa2va_native.files.paths import ROOT


def read_file(path: str | Path) -> Any:
    """Reads a config and its bases.

    The folders of the config and of its bases are appended to the module path and stay there, since MMEngine imports
    the classes that a config names when it builds them. ``custom_imports`` are imported. Helper variables, which start
    with an underscore, are dropped.

    Raises:
        ConfigError: a file of the inheritance is missing or not Python, a base cannot be one, a line fails, or an
            import of ``custom_imports`` fails.
    """
    from mmengine.config import Config

    path = Path(path)
    files = list(inheritance(path)) if path.suffix == ".py" else []
    for folder in dict.fromkeys(str(file.parent) for file in (path.resolve(), *files)):
        if folder not in sys.path:
            sys.path.append(folder)
    try:
        with _packages_without_pkg_resources(path):
            cfg = Config.fromfile(str(path), import_custom_modules=False)
    except (Exception, SystemExit) as error:  # a config is code and can fail in any way
        raise ConfigError(_located(error, path, set(files))) from error
    import_custom(cfg, path)
    for name in [name for name in cfg if name.startswith("_")]:
        cfg.pop(name)
    return cfg


def parse_config(path: Path) -> ast.Module:
    """A config file's syntax tree.

    Raises:
        ConfigError: it is not Python.
    """
    try:
        return ast.parse(path.read_text("utf-8"), str(path))
    except SyntaxError as error:
        line = (error.text or "").strip()
        remedy = "Correct the line."
        if line.startswith("from ") and "-" in line:
            remedy = (
                "A folder whose name is not a Python name cannot be imported; `from configs.NAME import *` works from "
                "everywhere."
            )
        raise ConfigError(f"{shown(path)}, line {error.lineno}: {error.msg}: `{line}`. {remedy}") from error
    except ValueError as error:
        raise ConfigError(f"{shown(path)}: not Python source in UTF-8 ({error}).") from error


def base_statements(path: Path, tree: ast.Module) -> list[ast.ImportFrom]:
    """The imports under ``with read_base():``.

    Raises:
        ConfigError: a statement that MMEngine's lazy configs do not know.
    """
    found: list[ast.ImportFrom] = []
    blocks = 0
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["_base_"]:
            _refuse(
                path,
                node,
                "MMEngine would read the config in its old style, but configs here are lazy. "
                f"Write `with read_base(): {_as_import(node.value)}`.",
            )
        if isinstance(node, ast.Import) and len(node.names) > 1:
            _refuse(path, node, "MMEngine takes one import per line in a config.")
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            _refuse(path, node, "a base is imported under `with read_base():`.")
        if not isinstance(node, ast.With):
            continue
        blocks += 1
        if ast.unparse(node.items[0].context_expr) != "read_base()" or blocks > 1:
            _refuse(path, node, "MMEngine takes one `with read_base():` per config, and no other `with`.")
        for base in node.body:
            if isinstance(base, ast.ImportFrom) and base.module:
                found.append(base)
            else:
                _refuse(path, base, "a base is written `from .NAME import *`.")
    return found


def base_file(path: Path, base: ast.ImportFrom) -> Path:
    """The file that a statement under ``read_base`` means.

    Raises:
        ConfigError: there is none.
    """
    names = (base.module or "").split(".")
    if base.level:
        folder = Path(path.parent, *[".."] * (base.level - 1)).resolve()
    elif len(names) > 1 and (found := _package_folder(names[0], path.parent)):
        folder, names = found, names[1:]
    else:
        _refuse(path, base, f"there is no package {names[0]} with configs. Write `from .{'.'.join(names)} import *`.")
    for depth in range(1, len(names)):
        if not folder.joinpath(*names[:depth]).is_dir():
            _refuse(path, base, f"there is no folder {shown(folder.joinpath(*names[:depth]))}.")
    file = folder.joinpath(*names).with_suffix(".py")
    if not file.is_file():
        near = did_you_mean(names[-1], [other.stem for other in file.parent.glob("*.py")])
        _refuse(path, base, f"there is no config {shown(file)}. {near}")
    return file


def shown(path: Path) -> str:
    """A path as messages show it: relative to the current folder if it is below."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def inheritance(path: Path, children: tuple[Path, ...] = ()) -> Iterator[Path]:
    """A config and everything below it, each checked for what would end in a traceback of MMEngine."""
    path = path.resolve()
    if path in children:
        raise ConfigError(f"config {' -> '.join(map(shown, (*children, path)))}: inherits from itself.")
    yield path
    for base in base_statements(path, parse_config(path)):
        yield from inheritance(base_file(path, base), (*children, path))


def _refuse(path: Path, node: ast.stmt, reason: str) -> Any:
    raise ConfigError(f"{shown(path)}, line {node.lineno}: `{ast.unparse(node).splitlines()[0]}`: {reason}")


def _as_import(base: ast.expr) -> str:
    """``"../a/b.py"`` as the statement that inherits from it."""
    if isinstance(base, (ast.List, ast.Tuple)) and base.elts:
        base = base.elts[0]
    text = base.value if isinstance(base, ast.Constant) and isinstance(base.value, str) else "NAME"
    parts = [part for part in Path(text).with_suffix("").parts if part not in (".", "..")]
    level = 1 + Path(text).parts.count("..")
    if not all(part.isidentifier() for part in parts):
        parts, level = ["configs", parts[-1] if parts[-1].isidentifier() else "NAME"], 0
    return f"from {'.' * level}{'.'.join(parts)} import *"


def _package_folder(package: str, beside: Path) -> Path | None:
    for folder in (beside, Path.cwd(), ROOT):
        if (folder / package).is_dir():
            return folder / package
    spec = importlib.util.find_spec(package)
    return Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None


@contextmanager
def _packages_without_pkg_resources(path: Path) -> Iterator[None]:
    """MMEngine asks ``pkg_resources`` for the folder of an absolute base; setuptools no longer includes it."""
    from mmengine.config import config as module

    ours, theirs = lambda package: str(_package_folder(package, path.parent)), module.get_installed_path
    module.get_installed_path = ours
    try:
        yield
    finally:
        module.get_installed_path = theirs


def import_custom(cfg: Any, path: str | Path) -> None:
    """Imports what ``custom_imports`` names; what was imported already is not imported again.

    Raises:
        ConfigError: an import fails.
    """
    from mmengine.utils import import_modules_from_strings

    if not (custom := cfg.get("custom_imports")):
        return
    try:
        import_modules_from_strings(**custom)
    except Exception as error:  # of any module
        reason = error.__context__ if isinstance(error.__context__, Exception) else error  # MMEngine leaves it out
        raise ConfigError(
            f"{shown(Path(path))}: custom_imports = {dict(custom)}: {_first_line(reason)}. "
            "Put the module next to the config, or its folder on PYTHONPATH."
        ) from error


def _located(error: BaseException, path: Path, files: set[Path]) -> str:
    """An error inside a config, with its line; an error inside MMEngine alone, with the config."""
    frames = list(_frames(error))
    inside = [i for i, (frame, _) in enumerate(frames) if Path(frame.f_code.co_filename).resolve() in files]
    if not inside:
        return f"{shown(path)}: {_first_line(error)}"
    frame, line = frames[inside[-1]]
    below = [entry.f_locals.get("self") for entry, _ in frames[inside[-1] + 1 :]]
    file = Path(frame.f_code.co_filename)
    source = linecache.getline(str(file), line).strip()
    return f"{shown(file)}, line {line}: `{source}`: {_reason(error, frame, below)}"


def _reason(error: BaseException, frame: FrameType, below: list[Any]) -> str:
    if isinstance(error, NameError) and error.name:
        private = error.name.startswith("_")
        names = [name for name in frame.f_globals if name.startswith("_") == private and not name.startswith("__")]
        return f"{error}. {did_you_mean(error.name, names)}"
    if isinstance(error, (KeyError, AttributeError)) and (owner := [one for one in below if isinstance(one, dict)]):
        key = error.args[0] if isinstance(error, KeyError) else error.name or ""
        return f"no key {key!r}. {did_you_mean(str(key), [str(name) for name in owner[0]])}"
    if type(below[-1] if below else None).__name__ in ("LazyObject", "LazyAttr"):
        return (
            f"`{below[-1]}` is imported when the run is built, not while the config is read: it cannot be called. "
            "Write the value itself, or give it with --cfg-options."
        )
    return f"{_first_line(error)}. Correct the line."


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _first_line(error: BaseException) -> str:
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0] if text else 'no message'}"

"""Holds the directions of the imports (ARCHITECTURE.md) by reading the sources; nothing is imported or run.

Every violation is printed as ``file:line: imports what: why not``.
"""

from __future__ import annotations

import ast
import itertools
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("projects", "tools", "configs", "benchmarks", "demo")
TEXT_SUFFIXES = {".cfg", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml", ""}
NOT_OURS = re.compile(r"\.git|\.venv.*|\..*_cache|__pycache__|.*\.egg-info|work_dirs|data|build")


class Import(NamedTuple):
    """One imported name; ``from a.b import c`` counts as ``a.b.c``, a module or a member of one."""

    path: Path
    line: int
    name: str


class Rule(NamedTuple):
    """Files under ``where`` (outside ``but_not``) must not import anything under ``forbidden``."""

    where: tuple[str, ...]
    forbidden: tuple[str, ...]
    why: str
    but_not: tuple[str, ...] = ()


PACKAGES = ("pseudo_gumbel", "sa2va_native")
METHOD = "projects/pseudo_gumbel"
#: The leaves of the method: they test in milliseconds because they load torch and nothing else.
PURE = ("caption_stats", "corruption", "escape", "gumbel", "schedules")
#: What the model is put together from.
PARTS = (
    "captioners",
    "costs",
    "estimators",
    "readers",
    "refer_back.py",
    "regularizers.py",
    "shadow.py",
    "step.py",
    "teacher.py",
)
RULES = {
    "base-knows-no-method": Rule(
        ("projects/sa2va_native",), ("pseudo_gumbel",), "the base model knows nothing of the method"
    ),
    "library-knows-no-scripts": Rule(
        ("projects",),
        ("tools", "configs", "benchmarks", "demo", "tests"),
        "scripts use the library, never the reverse",
    ),
    "datasets-know-no-models": Rule(
        ("projects/sa2va_native/datasets",),
        ("sa2va_native.models", "sa2va_native.engine", "sa2va_native.hooks", "peft"),
        "data are read without building a model",
    ),
    "files-are-read-below-the-adapters": Rule(
        tuple(f"projects/sa2va_native/datasets/{folder}" for folder in ("reading", "indexing", "scenes")),
        tuple(f"sa2va_native.datasets.{module}" for module in ("adapters", "converters", "mixture", "samplers")),
        "an adapter joins what reads, indexes or draws; a mixture joins adapters",
    ),
    "adapters-know-no-mixture": Rule(
        ("projects/sa2va_native/datasets/adapters",),
        tuple(f"sa2va_native.datasets.{module}" for module in ("converters", "mixture", "samplers", "transforms")),
        "an adapter gives one sample and knows nothing of training",
    ),
    "files-know-no-index": Rule(
        ("projects/sa2va_native/datasets/reading",),
        ("sa2va_native.datasets.indexing",),
        "an index lists what files hold",
    ),
    "metrics-know-no-models": Rule(
        ("projects/sa2va_native/evaluation",),
        ("sa2va_native.models", "sa2va_native.engine", "sa2va_native.hooks"),
        "metrics see predictions, not the model that made them",
    ),
    "models-know-no-runner": Rule(
        ("projects/sa2va_native/models", f"{METHOD}/model.py"),
        ("sa2va_native.engine", "sa2va_native.hooks", "pseudo_gumbel.hooks"),
        "hooks and engine drive the model, never the reverse",
    ),
    "distributed-stack-in-engine": Rule(
        SOURCES,
        ("deepspeed",),
        "DeepSpeed is slow to import and changes often: use sa2va_native.engine",
        but_not=("projects/sa2va_native/engine", "projects/sa2va_native/parallel"),
    ),
    "xtuner-is-a-guest": Rule(
        SOURCES,
        ("xtuner",),
        "everything runs without XTuner: what its command needs is in sa2va_native.engine.run.xtuner_guest",
        but_not=("projects/sa2va_native/engine/run/xtuner_guest.py",),
    ),
    "method-parts-know-no-model": Rule(
        tuple(f"{METHOD}/{name}" for name in (*(f"{name}.py" for name in PURE), *PARTS)),
        ("pseudo_gumbel.model", "pseudo_gumbel.hooks"),
        "hooks use the model, the model uses its parts",
    ),
    "method-leaves-know-no-parts": Rule(
        tuple(f"{METHOD}/{name}.py" for name in PURE),
        ("pseudo_gumbel.teacher",),
        "the leaves are shared by the parts",
    ),
    "method-knows-no-commands": Rule(
        (METHOD,),
        ("pseudo_gumbel.cli",),
        "commands use the library, never the reverse",
        but_not=(f"{METHOD}/cli", f"{METHOD}/__main__.py"),
    ),
    "structures-are-the-bottom": Rule(
        ("projects/sa2va_native/structures.py",),
        (
            "sa2va_native.models",
            "sa2va_native.datasets",
            "sa2va_native.evaluation",
            "mmengine",
            "transformers",
        ),
        "everything imports the structures",
    ),
    "errors-are-the-bottom": Rule(
        ("projects/sa2va_native/errors.py",), (*PACKAGES, "torch"), "everything imports the errors"
    ),
}


def python_files(root: Path, where: tuple[str, ...] = SOURCES) -> list[Path]:
    """All Python files at or below ``where`` (paths relative to ``root``); missing places give none."""
    places = (root / place for place in where)
    return sorted(path for place in places for path in ([place] if place.is_file() else place.rglob("*.py")))


@cache
def imports_of(path: Path, root: Path) -> tuple[Import, ...]:
    """Every import statement of a file, also inside functions, with relative names resolved."""
    return tuple(_imports(path, root))


def _imports(path: Path, root: Path) -> Iterator[Import]:
    package = path.relative_to(root).parent.parts
    if package[:1] == ("projects",):
        package = package[1:]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (Import(path, node.lineno, f"{module}.{alias.name}") for alias in node.names)


def is_under(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def first_party_closure(path: Path, root: Path = ROOT) -> list[Path]:
    """``path`` and all project files that importing it loads, parent packages included."""
    library = root / "projects"
    seen: dict[Path, None] = {}
    todo = [path]
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen[current] = None
        names = [i.name for i in imports_of(current, root) if is_under(i.name, PACKAGES)]
        if current.is_relative_to(library):
            names.append(".".join(current.relative_to(library).with_suffix("").parts))
        for name in names:
            parts = name.split(".")
            for depth in range(1, len(parts) + 1):
                stem = library.joinpath(*parts[:depth])
                todo += [p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()]
    return list(seen)


def violations(rule: Rule, root: Path = ROOT) -> list[str]:
    """``file:line: imports what: why not`` for each import that breaks the rule, in the files or in what they load."""
    spared = set(python_files(root, rule.but_not))
    found: dict[str, None] = {}
    for path in python_files(root, rule.where):
        for loaded in first_party_closure(path, root) if path not in spared else ():
            if loaded in spared:
                continue
            through = "" if loaded == path else f" (loaded by {path.relative_to(root)})"
            for i in imports_of(loaded, root):
                if is_under(i.name, rule.forbidden):
                    found[f"{i.path.relative_to(root)}:{i.line}: imports {i.name}{through}: {rule.why}"] = None
    return list(found)


def report(lines: list[str]) -> str:
    return "\n" + "\n".join(lines)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_imports_point_in_one_direction(rule: Rule) -> None:
    """Red when a lower layer starts to import an upper one."""
    found = violations(rule)
    assert not found, report(found)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_rules_name_places_that_exist(rule: Rule) -> None:
    """Red when a file is renamed and its rule silently watches nothing."""
    missing = [place for place in rule.where if place not in SOURCES and not python_files(ROOT, (place,))]
    assert not missing, f"no Python file under {', '.join(missing)}"


@pytest.mark.parametrize(
    "statement",
    [
        "import pseudo_gumbel.model",
        "from pseudo_gumbel import model",
        "import pseudo_gumbel",
        "from ...pseudo_gumbel.model import PseudoGumbel",
        "def late():\n    import pseudo_gumbel",
    ],
)
def test_every_form_of_import_is_seen(tmp_path: Path, statement: str) -> None:
    """Red when the reader of imports misses one of the ways to write a forbidden import."""
    planted = tmp_path / "projects/sa2va_native/models/planted.py"
    planted.parent.mkdir(parents=True)
    planted.write_text(f"import torch\n{statement}\n", encoding="utf-8")
    line = 2 + statement.count("\n")
    (found,) = violations(RULES["base-knows-no-method"], tmp_path)
    assert found.startswith(f"projects/sa2va_native/models/planted.py:{line}: imports pseudo_gumbel")


def test_an_import_through_another_module_is_seen(tmp_path: Path) -> None:
    """Red when the model loads the engine by way of a module between them."""
    library = tmp_path / "projects"
    for name, text in {
        "sa2va_native/models/planted.py": "import sa2va_native.between",
        "sa2va_native/between.py": "import sa2va_native.engine.run.launch",
    }.items():
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_text(text + "\n", encoding="utf-8")
    (found,) = violations(RULES["models-know-no-runner"], tmp_path)
    assert found.startswith("projects/sa2va_native/between.py:1: imports sa2va_native.engine.run.launch (loaded by")


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_load_torch_only(name: str) -> None:
    """Red when a module of pure mathematics loads a framework, directly or through its own imports."""
    path = ROOT / METHOD / f"{name}.py"
    allowed = {"torch", "numpy", *PACKAGES, *sys.stdlib_module_names}
    found = [
        f"{i.path.relative_to(ROOT)}:{i.line}: imports {i.name}"
        for file in first_party_closure(path)
        for i in imports_of(file, ROOT)
        if i.name.partition(".")[0] not in allowed
    ]
    assert not found, report(found)


def pins() -> dict[str, str]:
    """What requirements/ pins for running, by name."""
    listed = "\n".join(
        (ROOT / f"requirements/{name}.txt").read_text()
        for name in ("runtime", "xtuner", "xtuner_needs", "flash", "video", "captions", "web", "docs")
    )
    return {name.lower().replace("_", "-"): version for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+)", listed)}


def ranges() -> dict[str, Requirement]:
    """What setup.py requires to install the package, extras included, by name."""
    values = {
        node.targets[0].id: node.value
        for node in ast.parse((ROOT / "setup.py").read_text()).body
        if isinstance(node, ast.Assign)
    }
    extras = ast.literal_eval(values["EXTRAS"]).values()
    listed = itertools.chain(ast.literal_eval(values["REQUIRES"]), *extras)
    return {requirement.name: requirement for requirement in map(Requirement, listed)}


def test_what_was_tried_is_within_what_the_package_requires() -> None:
    """Red when a pin is moved out of its range, or a range is of a package that was not tried."""
    tried = pins()
    assert not [str(range_) for name, range_ in ranges().items() if tried[name] not in range_.specifier]


@pytest.mark.parametrize("where", ["requirements", "setup.py"])
def test_third_party_imports_are_required(where: str) -> None:
    """Red when code imports a package that only happens to be installed, as something else's dependency."""
    # XTuner's own pins keep it out of what the package requires.
    required, places = (pins().keys(), SOURCES) if where == "requirements" else ({*ranges(), "xtuner"}, SOURCES[:1])
    distributions = packages_distributions()
    found = []
    for path in python_files(ROOT, places):
        for i in imports_of(path, ROOT):
            top = i.name.partition(".")[0]
            if top in {*sys.stdlib_module_names, *SOURCES, *PACKAGES} or (path.parent / f"{top}.py").exists():
                continue
            names = {name.lower().replace("_", "-") for name in distributions.get(top, [top])}
            if not names & required:
                found.append(f"{path.relative_to(ROOT)}:{i.line}: imports {i.name}, not in {where}")
    assert not found, report(found)


def text_files() -> Iterator[Path]:
    """The text files of the checkout, without what .gitignore names."""
    for path in sorted(ROOT.rglob("*")):
        inside = path.relative_to(ROOT)
        if path.is_file() and path.suffix in TEXT_SUFFIXES and not any(map(NOT_OURS.fullmatch, inside.parts)):
            yield path


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (
            r"(?<![\w.}])/(?:home|root|Users|work|mnt|tmp|srv|opt)/\w",
            "a path that exists on one machine only",
        ),
        (
            r"--(?:extra-)?index-url|--find-links|--trusted-host",
            "where packages come from is the user's setting",
        ),
    ],
    ids=["absolute-path", "package-source"],
)
def test_no_file_is_tied_to_one_machine(pattern: str, why: str) -> None:
    """Red when a path or a package source of the author's machine is written into the repository."""
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}: {why}"
        for path in text_files()
        if path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="ignore").splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert not found, report(found)

"""Configs in any folder are read, and what cannot be read is one line with file, line and remedy."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import mmengine
import pytest
from packaging.version import Version

from sa2va_native.engine.config.config_check import check_config, resolve_type
from sa2va_native.engine.config.provenance import provenance
from sa2va_native.engine.config.reading import read_file
from sa2va_native.errors import ConfigError
from sa2va_native.files.paths import ROOT

BASE = "from mmengine.config import read_base\n\nwith read_base():\n    from .{} import *\n\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of configs with one base."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "base.py").write_text("from torch.optim import AdamW\n\nenv_cfg = dict(mp_cfg=dict(optimizer=AdamW))\n")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (BASE.format("bas"), 4, r"there is no config .*bas.py. Did you mean 'base'\?"),
        (BASE.format("bases.base"), 4, "there is no folder .*bases"),
        (BASE.format("base") + "x = = 2\n", 6, "invalid syntax: `x = = 2`. Correct the line."),
        (BASE.format("my-repository.base"), 4, r"`from configs.NAME import \*` works from everywhere"),
        (BASE.format("base") + "log_level = levle\n", 6, "name 'levle' is not defined"),
        (BASE.format("base") + "env_cgf['a'] = 1\n", 6, r"name 'env_cgf' is not defined. Did you mean 'env_cfg'\?"),
        (BASE.format("base") + "env_cfg['mp_cgf']['a'] = 1\n", 6, r"no key 'mp_cgf'. Did you mean 'mp_cfg'\?"),
        (BASE.format("base") + "env_cfg['a'] = 1 / 0\n", 6, "ZeroDivisionError: division by zero"),
        (BASE.format("base") + "raise SystemExit(3)\n", 6, "SystemExit: 3. Correct the line"),
        pytest.param(
            "import os\n" + BASE.format("base") + "_a = os.environ.get('A')\n",
            7,
            "`get` is imported when the run",
            marks=pytest.mark.skipif(
                Version(mmengine.__version__) >= Version("0.11.0rc1"),
                reason="MMEngine 0.11 imports modules of the standard library while it reads a config",
            ),
        ),
        ("_base_ = ['./base.py']\n", 1, r"Write `with read_base\(\): from .base import \*`"),
        ("_base_ = '../a/base.py'\n", 1, r"Write `with read_base\(\): from ..a.base import \*`"),
        ("with open('a') as f:\n    pass\n", 1, r"MMEngine takes one `with read_base\(\):` per config"),
        (BASE.format("base") + BASE.format("base").split("\n\n")[1], 6, "takes one `with read_base"),
        (BASE.format("base").replace("from .base import *", "import base"), 4, "a base is written `from .NAME"),
        (BASE.format("base").replace(".base", "base"), 4, r"Write `from .base import \*`"),
        (BASE.format("base") + "from torch.optim import *\n", 6, "a base is imported under"),
        ("import math, string\n", 1, "one import per line"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_its_line(folder: Path, text: str, line: int, reason: str) -> None:
    """Red when a slip in a config ends in a traceback of MMEngine's reader, or names no file, line or remedy."""
    path = folder / "child.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason) as raised:
        read_file(path)
    assert f"child.py, line {line}: " in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_the_line_of_a_base_is_named(folder: Path) -> None:
    """Red when the child is blamed for what its base does."""
    (folder / "base.py").write_text("env_cfg = dict(a=b)\n")
    (folder / "child.py").write_text(BASE.format("base"))
    with pytest.raises(ConfigError, match=r"base.py, line 1: `env_cfg = dict\(a=b\)`: name 'b' is not defined"):
        read_file(folder / "child.py")


def test_a_config_that_inherits_from_itself(folder: Path) -> None:
    """Red when it ends in a RecursionError."""
    (folder / "one.py").write_text(BASE.format("two"))
    (folder / "two.py").write_text(BASE.format("one"))
    with pytest.raises(ConfigError, match=r"one.py -> .*two.py -> .*one.py: inherits from itself"):
        read_file(folder / "one.py")


def test_modules_beside_the_config_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By import and by registered name. Red when a user's hook needs PYTHONPATH."""
    module = (
        "from mmengine.hooks import Hook\nfrom mmengine.registry import HOOKS\n\n"
        "@HOOKS.register_module(force=True)\nclass {}(Hook):\n    pass\n"
    )
    for number in (1, 2):
        (folder / f"beside_config_{number}.py").write_text(module.format(f"BesideConfig{number}"))
        monkeypatch.delitem(sys.modules, f"beside_config_{number}", raising=False)
    path = folder / "child.py"
    path.write_text(
        BASE.format("base") + "from beside_config_1 import BesideConfig1\n\n"
        "custom_imports = dict(imports=['beside_config_2'])\n"
        "custom_hooks = [dict(type=BesideConfig1), dict(type='BesideConfig2')]\n"
    )
    cfg = read_file(path)
    check_config({"custom_imports": cfg.custom_imports, "custom_hooks": cfg.custom_hooks})
    assert [resolve_type(hook.type).__name__ for hook in cfg.custom_hooks] == ["BesideConfig1", "BesideConfig2"]  # type: ignore[union-attr]


def test_modules_beside_a_base_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when a child in another folder cannot import what its base names."""
    (folder / "beside_base.py").write_text("class BesideBase:\n    pass\n")
    (folder / "base.py").write_text("from beside_base import BesideBase\n\ncustom_hooks = [dict(type=BesideBase)]\n")
    monkeypatch.delitem(sys.modules, "beside_base", raising=False)
    (folder / "children").mkdir()
    path = folder / "children/child.py"
    path.write_text(BASE.format(".base"))
    (hook,) = read_file(path).custom_hooks
    assert resolve_type(hook.type).__name__ == "BesideBase"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("custom", "reason"),
    [("dict(imports=['no_such'])", "No module named 'no_such'"), ("dict(import_=['math'])", "import_")],
)
def test_custom_imports_that_fail_are_named(folder: Path, custom: str, reason: str) -> None:
    (folder / "child.py").write_text(BASE.format("base") + f"custom_imports = {custom}\n")
    with pytest.raises(ConfigError, match=f"child.py: custom_imports = .*{reason}"):
        read_file(folder / "child.py")


def test_a_class_that_is_not_there_is_named(folder: Path) -> None:
    """Red when an import of a config that fails is said to be missing."""
    (folder / "child.py").write_text(BASE.format("base") + "from no_such import A\n\nmodel = dict(type=A)\n")
    with pytest.raises(ConfigError, match=r"model.type = 'no_such.A' cannot be imported \(ModuleNotFoundError: No mod"):
        check_config(read_file(folder / "child.py"))


@pytest.mark.parametrize("name", ["pseudo-gumbel", "pseudo.gumbel.v1", "a folder"])
def test_a_repository_folder_of_any_name(folder: Path, name: str) -> None:
    """Red when relative inheritance takes the folder's name for part of a module."""
    shutil.copytree(ROOT / "configs", folder / name / "configs")
    path = folder / name / "configs/ablations/soft_words.py"
    assert read_file(path).to_dict() == read_file(ROOT / "configs/ablations/soft_words.py").to_dict()
    assert provenance(path)[("log_level",)] == folder / name / "configs/_base_/default_runtime.py"


def test_a_shipped_config_is_inherited_from_anywhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its absolute name, from another folder and another working directory. Red when it wants pkg_resources."""
    monkeypatch.chdir(folder)
    path = folder / "child.py"
    path.write_text(BASE.format("base").replace(".base", "configs.sa2va_tiny") + "train_cfg['max_steps'] = 7\n")
    assert read_file(path).train_cfg.max_steps == 7
    assert provenance(path)[("train_cfg", "max_steps")] == path


def test_a_shipped_config_is_inherited_beside_configs_of_ones_own(folder: Path) -> None:
    """By the package's name. Red when a folder called configs hides the shipped ones."""
    (folder / "configs").mkdir()
    path = folder / "configs/child.py"
    path.write_text(BASE.format("base").replace(".base", "pseudo_gumbel.configs.sa2va_tiny"))
    assert read_file(path).to_dict() == read_file(ROOT / "configs/sa2va_tiny.py").to_dict()


def test_helper_variables_end_with_the_file(folder: Path) -> None:
    """Red when they end up in a run's config, where nothing reads them."""
    (folder / "child.py").write_text(BASE.format("base") + "_level = 'INFO'\nlog_level = _level\n")
    cfg = read_file(folder / "child.py")
    assert cfg.log_level == "INFO"
    assert "_level" not in cfg

"""A config by its path, or a shipped one by its name from any folder."""

from __future__ import annotations

from pathlib import Path

from sa2va_native.errors import ConfigError, did_you_mean
from sa2va_native.files.paths import ROOT


def shipped_configs() -> dict[str, Path]:
    """The shipped configs by name, e.g. ``pseudo_gumbel_tiny`` or ``ablations/soft_words``."""
    folder = ROOT / "configs"
    files = (file.relative_to(folder) for file in folder.rglob("*.py"))
    return {file.with_suffix("").as_posix(): folder / file for file in sorted(files) if file.parts[0] != "_base_"}


def find_config(config: str | Path) -> Path:
    """The file of a config.

    Args:
        config: a path; or the name of a shipped config, with or without ``configs/`` and ``.py``.

    Raises:
        ConfigError: there is neither; the message gives the nearest name.
    """
    if Path(config).is_file():
        return Path(config)
    known, name = shipped_configs(), _name(config)
    if name not in known:
        raise ConfigError(f"config {config} does not exist. {did_you_mean(name, known)}")
    return known[name]


def is_config(what: str | Path) -> bool:
    """Whether an argument that may be a config or a data set means a config."""
    return str(what).endswith(".py") or (not Path(what).exists() and _name(what) in shipped_configs())


def _name(config: str | Path) -> str:
    return Path(config).as_posix().removeprefix("configs/").removesuffix(".py")

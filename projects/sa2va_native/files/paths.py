"""Resolves the paths of files named in configs, and says where generated ones go."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGES = Path(__file__).resolve().parents[2]
_CHECKOUT = _PACKAGES.parent
#: Where ``configs/`` and ``assets/`` are: the checkout, or the package in which a wheel brings them.
ROOT = _CHECKOUT if (_CHECKOUT / "configs" / "deepspeed").is_dir() else _PACKAGES / "pseudo_gumbel"


def resolve(path: str | Path) -> Path:
    """``path`` as given if it exists from the working directory, else the shipped file of that name if there is one."""
    path = Path(path).expanduser()
    shipped = ROOT / path
    return shipped if not path.exists() and shipped.exists() else path


def cache_folder() -> Path:
    """The folder for generated data that were given no other folder.

    ``$PSEUDO_GUMBEL_CACHE``, else ``pseudo-gumbel`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.
    """
    if own := os.environ.get("PSEUDO_GUMBEL_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pseudo-gumbel"

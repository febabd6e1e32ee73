"""Where files named in configs are looked for."""

from __future__ import annotations

from pathlib import Path

#: The checkout: configs name shipped files relative to it, so that they work from any working directory.
ROOT = Path(__file__).resolve().parents[3]


def resolve(path: str | Path) -> Path:
    """``path`` as given if it is absolute or exists from here, else relative to the checkout."""
    path = Path(path).expanduser()
    return path if path.is_absolute() or path.exists() else ROOT / path

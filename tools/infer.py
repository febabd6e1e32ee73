#!/usr/bin/env python3
"""Masks of expressions, and captions of masks, in a picture."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.infer import main

    main(prog="tools/infer.py")

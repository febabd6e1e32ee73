#!/usr/bin/env python3
"""Build the indices of large sets before training, or bring them up to date."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.index_data import main

    main(prog="tools/prepare_data/index.py")

#!/usr/bin/env python3
"""Convert checkpoints: published ones and those of runs, into any layout, without a GPU."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.convert_checkpoint import main

    main(prog="tools/convert_checkpoint.py")

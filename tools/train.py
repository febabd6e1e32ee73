#!/usr/bin/env python3
"""Train a config in this process, or as one of several ranks."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.train import main

    main(prog="tools/train.py")

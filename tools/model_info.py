#!/usr/bin/env python3
"""The parts of a config's model, and the memory that each GPU needs; takes no weights, data or GPU."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.model_info import main

    main(prog="tools/model_info.py")

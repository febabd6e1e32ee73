#!/usr/bin/env python3
"""Show a config as a run would see it, and which file set each value."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.print_config import main

    main(prog="tools/print_config.py")

#!/usr/bin/env python3
"""Compare evaluations of the same data, figure by figure, with intervals."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.compare_runs import main

    main(prog="tools/compare_runs.py")

#!/usr/bin/env python3
"""Write a report of evaluations as one page."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.report import main

    main(prog="tools/report.py")

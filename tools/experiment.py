#!/usr/bin/env python3
"""Run the experiment of the method: arms, bases and seeds, then tables and plots."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.experiment import main

    main(prog="tools/experiment.py")

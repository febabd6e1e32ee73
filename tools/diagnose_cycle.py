#!/usr/bin/env python3
"""Tell in minutes what the cycle can teach a model, and with which estimator, before days are spent on it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.diagnose_cycle import main

    main(prog="tools/diagnose_cycle.py")

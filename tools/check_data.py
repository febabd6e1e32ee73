#!/usr/bin/env python3
"""Read every sample of a data set: what is wrong, where, and how to mend it. Exit status 1 if anything is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.check_data import main

    main(prog="tools/check_data.py")

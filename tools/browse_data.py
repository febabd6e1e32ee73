#!/usr/bin/env python3
"""Draw samples of a data set as training sees them: picture and mask, region cells, text."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.browse_data import main

    main(prog="tools/browse_data.py")

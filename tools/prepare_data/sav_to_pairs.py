#!/usr/bin/env python3
"""Convert raw SA-V (mp4 and masklet json) to pair files: one object in two frames each."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.convert_sav import main

    main(prog="tools/prepare_data/sav_to_pairs.py")

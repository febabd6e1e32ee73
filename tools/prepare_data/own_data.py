#!/usr/bin/env python3
"""Convert LabelMe, COCO or PASCAL VOC masks to own data (docs/data/own.md); resumes when started again."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.convert_data import main

    main(prog="tools/prepare_data/own_data.py")

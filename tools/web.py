#!/usr/bin/env python3
"""Ask a model in the browser: mark a region and read what it says, or name an object and see it found."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.demo import main

    main(prog="tools/web.py")

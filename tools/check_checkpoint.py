#!/usr/bin/env python3
"""Verify checkpoints and print what is inside. Exit status 1 if one is damaged, or holds what is not finite."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.check_checkpoint import main

    main(prog="tools/check_checkpoint.py")

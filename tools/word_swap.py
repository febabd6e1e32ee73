#!/usr/bin/env python3
"""Test which words the referrer can distinguish, before cycle training: mask losses of true and of swapped words."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

if __name__ == "__main__":
    from pseudo_gumbel.cli.word_swap import main

    main(prog="tools/word_swap.py")

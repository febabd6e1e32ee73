#!/usr/bin/env python3
"""Build the indices of large sets before training, or bring them up to date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "projects"))

EXAMPLES = """\
A run builds what it needs by itself while all of its GPUs wait. A killed build goes on; of a set that has grown, the
new files alone are read. All cores take part; to spare some: taskset -c 0-3 tools/prepare_data/index.py ...

examples:
  all sets of a config, with its limits   tools/prepare_data/index.py configs/pseudo_gumbel_4b.py
  the set in a folder                     tools/prepare_data/index.py /data/sa1b
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", metavar="CONFIG|PATH", help="a config, or data as of tools/check_data.py")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    args = parser.parse_args()
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: build(args.what), args.debug)


def build(what: str) -> None:
    from mmengine.registry import DATASETS

    from sa2va_native.engine.config.sources import sources_of

    for name, config in sources_of(what):
        dataset = DATASETS.build(config)
        index = getattr(dataset, "index", None)
        where = index.folder if index is not None else "needs no index"
        print(f"{name}: {type(dataset).__name__}, {len(dataset):,} records: {where}")


if __name__ == "__main__":
    main()

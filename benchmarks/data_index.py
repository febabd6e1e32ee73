#!/usr/bin/env python3
"""What the index of a large set costs: seconds to build and to open, private memory of a worker, time of a draw.

python benchmarks/data_index.py                     # a million synthetic records in 100 parts
python benchmarks/data_index.py --records 10000000
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import pickle
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

import pyarrow as pa

from sa2va_native.datasets.indexing.index import Part
from sa2va_native.datasets.indexing.index_builder import open_index
from sa2va_native.datasets.reading.unchanged import stamp

#: The columns of SA-1B in shards.
COLUMNS = {
    **{"stem": pa.string(), "picture_suffix": pa.string(), "annotation": pa.int32(), "area_share": pa.float64()},
    **dict.fromkeys(("picture_start", "picture_size", "json_start", "json_size"), pa.int64()),
}
PARTS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000, help="(default: %(default)s)")
    parser.add_argument(
        "--draws", type=int, default=50_000, help="random records a worker reads (default: %(default)s)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        parts = functools.partial(list_parts, root, args.records)
        for title in ("build", "open"):
            start = time.perf_counter()
            index = open_index(root, None, {"adapter": "benchmark"}, COLUMNS, parts)
            print(f"{title:<8} {time.perf_counter() - start:8.3f} s  {len(index):,} records")
        size = sum(path.stat().st_size for path in (root / ".index").iterdir())
        print(f"{'on disk':<8} {size / len(index):8.1f} bytes per record")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            grown, seconds = pool.apply(draw, (pickle.dumps(index), args.draws))
        print(f"{'worker':<8} {grown / 1024:8.1f} MB of private memory after {args.draws:,} random draws")
        print(f"{'draw':<8} {1e6 * seconds / args.draws:8.1f} microseconds")


def list_parts(root: Path, records: int) -> Iterator[Part]:
    for number in range(PARTS):
        part = root / f"sa_{number:06}"
        part.mkdir(exist_ok=True)
        yield Part(part.name, {part: stamp(part)}, functools.partial(synthetic, number, records // PARTS))


def synthetic(part: int, records: int) -> Iterator[dict[str, Any]]:
    place = {"picture_suffix": "jpg", "picture_start": 512, "picture_size": 9, "json_start": 2048, "json_size": 9}
    for i in range(records):
        yield {**place, "stem": f"sa_{11_000 * part + i // 100}", "annotation": i % 100, "area_share": 0.25}


def draw(sent: bytes, draws: int) -> tuple[int, float]:
    """Private memory in kB that a worker gains by opening and drawing, and the seconds of the draws."""
    before = private_memory()
    index = pickle.loads(sent)
    rng = random.Random(0)
    start = time.perf_counter()
    for _ in range(draws):
        index[rng.randrange(len(index))]
    return private_memory() - before, time.perf_counter() - start


def private_memory() -> int:
    """Memory of this process that no other process shares, in kB; Linux only."""
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()

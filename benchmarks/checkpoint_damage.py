#!/usr/bin/env python3
"""Damages the newest checkpoint of a run at random, again and again: is each damage found, and the one before taken?

python benchmarks/checkpoint_damage.py work_dirs/run                    # 1,000 times; it is copied, not touched
python benchmarks/checkpoint_damage.py work_dirs/run --times 100

Also prints what verifying costs beside loading. Exit status 1 if a damage is not found.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "projects"))

from sa2va_native.engine.checkpoints.checkpointing import checkpoint_damage, checkpoints_of, find_latest_checkpoint
from sa2va_native.engine.checkpoints.safe_load import load_file

Mutation = Callable[[bytearray, random.Random], None]


def flip_a_bit(content: bytearray, draw: random.Random) -> None:
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def change_a_byte(content: bytearray, draw: random.Random) -> None:
    content[draw.randrange(len(content))] = draw.randrange(256)


def zero_a_block(content: bytearray, draw: random.Random) -> None:
    first, last = _block(content, draw)
    content[first:last] = bytes(last - first)


def fill_a_block(content: bytearray, draw: random.Random) -> None:
    first, last = _block(content, draw)
    content[first:last] = draw.randbytes(last - first)


def repeat_a_block(content: bytearray, draw: random.Random) -> None:
    first, last = _block(content, draw)
    to = draw.randrange(len(content) - (last - first) + 1)
    content[to : to + last - first] = content[first:last]


def cut_a_block(content: bytearray, draw: random.Random) -> None:
    first, last = _block(content, draw)
    del content[first:last]


def insert_a_block(content: bytearray, draw: random.Random) -> None:
    first, last = _block(content, draw)
    content[first:first] = draw.randbytes(last - first)


def cut_the_end(content: bytearray, draw: random.Random) -> None:
    del content[draw.randrange(len(content)) :]


def add_an_end(content: bytearray, draw: random.Random) -> None:
    content += draw.randbytes(draw.randrange(1, 1000))


MUTATIONS: tuple[Mutation, ...] = (
    flip_a_bit,
    change_a_byte,
    zero_a_block,
    fill_a_block,
    repeat_a_block,
    cut_a_block,
    insert_a_block,
    cut_the_end,
    add_an_end,
)


def _block(content: bytearray, draw: random.Random) -> tuple[int, int]:
    """Where a block begins and ends: of 1 byte to 64 KiB, short ones as often as long ones."""
    size = min(len(content), int(2 ** draw.uniform(0, 16)))
    first = draw.randrange(len(content) - size + 1)
    return first, first + size


def damage(checkpoint: Path, draw: random.Random) -> str:
    """Damages one file of a checkpoint, so that its bytes differ, or deletes it.

    Returns:
        what was done.
    """
    files = sorted(file for file in checkpoint.rglob("*") if file.is_file()) if checkpoint.is_dir() else [checkpoint]
    file = draw.choice(files)
    # Without its list of checksums a folder is one that DeepSpeed alone wrote.
    if checkpoint.is_dir() and file.suffix == ".pt" and draw.random() < 0.02:
        file.unlink()
        return f"{file.name}: deleted"
    mutation, before = draw.choice(MUTATIONS), file.read_bytes()
    after = bytearray(before)
    while after == before:
        mutation(after, draw)
    file.write_bytes(after)
    return f"{file.name}: {mutation.__name__}"


def falls_back(work_dir: Path, before: Path) -> str | None:
    """What is wrong with the choice in a work dir whose newest checkpoint is damaged; None if it is the one before."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            taken = find_latest_checkpoint(work_dir)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None if taken == str(before) else f"takes {taken}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work_dir", type=Path, help="of a run with two checkpoints or more")
    parser.add_argument("--times", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    args = parser.parse_args()
    newest, before = (one.path for one in checkpoints_of(args.work_dir)[:2])
    _time(newest)
    draw, done, missed = random.Random(args.seed), Counter[str](), []
    with tempfile.TemporaryDirectory(prefix="checkpoint_damage_") as folder:
        place = Path(folder)
        for path in (newest, before):
            shutil.copytree(path, place / path.name) if path.is_dir() else shutil.copy2(path, place)
        for _ in range(args.times):
            copy = place / newest.name
            what = damage(copy, draw)
            done[what] += 1
            if wrong := falls_back(place, place / before.name):
                missed.append(f"{what}: {wrong}")
            if copy.is_dir():
                shutil.rmtree(copy)
                shutil.copytree(newest, copy)
            else:
                shutil.copy2(newest, copy)
    for what, count in sorted(done.items()):
        print(f"{count:5}  {what}")
    print(f"{args.times} times damaged: {args.times - len(missed)} found, the one before taken; {len(missed)} not")
    print("\n".join(missed))
    sys.exit(1 if missed else 0)


def _time(path: Path) -> None:
    """Prints the seconds of verifying and of loading, each the best of five, from the page cache."""
    files = sorted(path.glob("*.pt")) if path.is_dir() else [path]
    size = sum(file.stat().st_size for file in files)
    verify = min(_seconds(lambda: checkpoint_damage(path)) for _ in range(5))
    load = min(_seconds(lambda: [load_file(file) for file in files]) for _ in range(5))
    print(f"{size / 2**20:.1f} MiB: verified in {verify:.3f} s, loaded in {load:.3f} s")


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

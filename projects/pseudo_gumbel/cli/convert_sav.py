"""Convert raw SA-V (mp4 and masklet json) to pair files: one object in two frames each."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pseudo_gumbel.cli.options import add_debug, make_parser

EXAMPLES = """\
A pair is an object in two annotated frames (6 a second) that both show it within the limits. A killed conversion
resumes when it is started again; what cannot be used is named in OUT/bad_samples.jsonl.

examples:
  one pair of each object, a second apart    pseudo-gumbel convert-sav /data/sav_train /data/sav_pairs
  four, half a second apart, no specks       pseudo-gumbel convert-sav /data/sav_train /data/sav_pairs4 \\
                                                 --frame-gap 3 --pairs-per-masklet 4 --min-area-share 0.001
"""


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel convert-sav") -> None:
    parser = make_parser(prog, __doc__, EXAMPLES)
    parser.add_argument("root", type=Path, help="folder of sav_XXXXXX.mp4 and sav_XXXXXX_manual.json, at any depth")
    parser.add_argument("out", type=Path, help="folder for masklet_data_*.npz")
    parser.add_argument("--frame-gap", type=int, default=6, help="annotated frames, 6 a second (default: %(default)s)")
    parser.add_argument("--kinds", nargs="+", default=["manual", "auto"], help="manual, auto (default: both)")
    parser.add_argument(
        "--pairs-per-masklet", type=int, default=1, help="most pairs per masklet, evenly spread (default: %(default)s)"
    )
    parser.add_argument("--min-area-share", type=float, default=0.0, help="of the frame, 0..1 (default: %(default)s)")
    parser.add_argument("--max-area-share", type=float, default=1.0, help="of the frame, 0..1 (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=4, help="videos at a time (default: %(default)s)")
    add_debug(parser)
    args = parser.parse_args(arguments)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: convert_all(args), args.debug)


def convert_all(args: argparse.Namespace) -> None:
    from sa2va_native.datasets.converters.sav import Conversion, convert

    conversion = Conversion(
        args.root,
        args.out,
        args.frame_gap,
        tuple(args.kinds),
        args.pairs_per_masklet,
        args.min_area_share,
        args.max_area_share,
    )
    converted = convert(conversion, args.processes)
    print(f"{converted.pairs:,} pairs in {args.out}")
    for reason, count in sorted(converted.dropped.items()):
        print(f"dropped: {count:,} {reason}")
    if converted.bad:
        print(f"bad: {len(converted.bad):,}, named in {args.out / 'bad_samples.jsonl'}")

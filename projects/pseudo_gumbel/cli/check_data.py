"""Read every sample of a data set: what is wrong, where, and how to mend it. Exit status 1 if anything is wrong."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pseudo_gumbel.cli.options import add_debug, add_index_dir, make_parser

EXAMPLES = """\
examples:
  own masks, or a COCO or REFER folder   pseudo-gumbel check-data /data/mine
  and words a model does not know        pseudo-gumbel check-data /data/mine --config sa2va_tiny
  a sample of a large set                pseudo-gumbel check-data /data/coco --limit 1000
  what a config trains on, as it does    pseudo-gumbel check-data pseudo_gumbel_4b --limit 1000
  each bad sample as a JSON line         pseudo-gumbel check-data /data/mine --report bad_samples.jsonl
"""


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel check-data") -> None:
    parser = make_parser(prog, __doc__, EXAMPLES)
    parser.add_argument(
        "what", metavar="CONFIG|PATH", help="a config, a data.jsonl, or the folder of a set as in docs/data"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="read N samples of each set, evenly spread")
    parser.add_argument(
        "--region-grid", type=int, metavar="G", help="cells per side of the ViT's grid (default: the config's, or 16)"
    )
    parser.add_argument(
        "--config", metavar="CONFIG", help="whose tokenizer and region grid count, for data given by its path"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write each bad sample as a JSON line")
    add_index_dir(parser)
    add_debug(parser)
    args = parser.parse_args(arguments)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: check(args), args.debug)


def check(args: argparse.Namespace) -> None:
    from mmengine.registry import DATASETS
    from rich.console import Console
    from rich.progress import track

    from sa2va_native.datasets.check import check_set, format_report, spread
    from sa2va_native.engine.config.sources import region_of, sources_of, words_of
    from sa2va_native.errors import BadSample, ConfigError, DataError, printable
    from sa2va_native.files.atomic import make_room

    for name in ("limit", "region_grid"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    of_model = args.config or args.what
    sources, region, find_unknown = sources_of(args.what, args.index_dir), region_of(of_model), words_of(of_model)
    if args.region_grid:
        region = region._replace(grid_size=args.region_grid)
    wrong = False
    if args.report:
        make_room(args.report, "--report")
        args.report.write_text("", encoding="utf-8")

    def on_bad(bad: BadSample) -> None:
        if args.report:
            with args.report.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(bad.report()) + "\n")

    for name, config in sources:
        print(f"{printable(name)}: ", end="", flush=True)
        try:
            dataset = DATASETS.build(config)
        except DataError as error:
            wrong = True
            print(f"cannot be used\n  {printable(str(error))}")
            continue
        indices = track(spread(len(dataset), args.limit), "looking", console=Console(stderr=True))
        report = check_set(dataset, indices, region, on_bad, find_unknown)
        print(f"{type(dataset).__name__}, " + format_report(report, len(dataset), region))
        wrong |= report.bad > 0
    sys.exit(1 if wrong else 0)

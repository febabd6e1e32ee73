"""Write a report of evaluations as one page: figures with intervals, what changed, curves, pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pseudo_gumbel.cli.compare_runs import named
from pseudo_gumbel.cli.options import add_debug, make_parser, whole

EXAMPLES = """\
examples:
  what a report is made of     pseudo-gumbel test sa2va_tiny RUN --predictions RUN/predictions.jsonl
  of one run                   pseudo-gumbel report work_dirs/one --out report.html
  of a base and what it became pseudo-gumbel report work_dirs/base work_dirs/one work_dirs/other --out report.html
  over seeds                   pseudo-gumbel report work_dirs/labelled work_dirs/word_trials --out report.html
                               where each folder has seed_0/predictions.jsonl, seed_1/predictions.jsonl, ...

The page needs no network and no file beside it. Curves are drawn from the logs below each run's folder.
"""


def parse_args(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = make_parser(prog, __doc__, EXAMPLES)
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        type=Path,
        help="a folder with predictions.jsonl, a folder of such folders for the seeds of one run, or such a file; the "
        "first one is what the others are compared with",
    )
    parser.add_argument("--out", metavar="HTML", type=Path, default=Path("report.html"), help="default: %(default)s")
    parser.add_argument("--title", default="Evaluation", help="of the page (default: %(default)s)")
    parser.add_argument("--resamples", type=whole(1), default=1000, help="draws of pictures (default: %(default)s)")
    add_debug(parser)
    return parser.parse_args(arguments)


def report(args: argparse.Namespace) -> None:
    from sa2va_native.evaluation.html_report import write_html
    from sa2va_native.evaluation.report_runs import find_run

    runs = {name: find_run(path) for name, path in named(args.runs).items()}
    for line in write_html(args.out, runs, args.title, args.resamples):
        print(line)
    print(f"written to {args.out}")


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel report") -> None:
    args = parse_args(arguments, prog)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: report(args), args.debug)

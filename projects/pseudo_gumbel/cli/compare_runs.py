"""Compare evaluations of the same data: every figure, and each run's difference from the first with a 95 % interval."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pseudo_gumbel.cli.options import add_debug, make_parser, whole

EXAMPLES = """\
examples:
  write what is compared       pseudo-gumbel test sa2va_tiny RUN --predictions RUN/predictions.jsonl
  a run and its base           pseudo-gumbel compare-runs base/predictions.jsonl run/predictions.jsonl
  folders hold the file        pseudo-gumbel compare-runs work_dirs/base work_dirs/one work_dirs/other
  has it forgotten anything?   pseudo-gumbel compare-runs work_dirs/base work_dirs/one --forgetting

Intervals are of a bootstrap over pictures, paired: each draw takes the same pictures of both runs. They hold the noise
of the test set; that of another training seed comes on top. A difference is called better, worse or other when its
interval leaves out 0: of 20 figures that did not change, one is expected to.
"""


def parse_args(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = make_parser(prog, __doc__, EXAMPLES)
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        type=Path,
        help="predictions of the test command, or a folder with predictions.jsonl; the first one is the base",
    )
    parser.add_argument("--out", metavar="JSON", type=Path, help="write the rows to this file")
    parser.add_argument(
        "--forgetting",
        action="store_true",
        help="also say in which figures each run is worse than the first, and exit with status 1 if there are any",
    )
    parser.add_argument("--resamples", type=whole(1), default=1000, help="draws of pictures (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: %(default)s)")
    add_debug(parser)
    return parser.parse_args(arguments)


def compare(args: argparse.Namespace) -> None:
    from sa2va_native.evaluation.run_comparison import as_text, compare_runs, forgetting

    paths = named([path / "predictions.jsonl" if path.is_dir() else path for path in args.runs])
    rows = compare_runs(paths, args.resamples, args.seed)
    print(as_text(rows))
    if args.out:
        listed = [
            {**row._asdict(), "differences": {run: one._asdict() for run, one in row.differences.items()}}
            for row in rows
        ]
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
    if args.forgetting:
        worse = forgetting(rows)
        for run, figures in worse.items():
            print(f"\n{run} is worse than {next(iter(paths))} in {', '.join(figures) or 'no figure'}.")
        if any(worse.values()):
            sys.exit(1)


def named(paths: Sequence[Path]) -> dict[str, Path]:
    """A name for each path: that of the file or folder, of a ``predictions.jsonl`` that of its folder.

    If several have the same, the folders above it go before it, as many as tell them apart: ``trials/seed_0``.

    Raises:
        ConfigError: a path is given twice.
    """
    from sa2va_native.errors import ConfigError

    whole = [path.resolve().parent if path.name == "predictions.jsonl" else path.resolve() for path in paths]
    parts = [(path if path.is_dir() else path.with_suffix("")).parts for path in whole]
    ends = [["/".join(one[-count:]) for count in range(1, len(one) + 1)] for one in parts]
    found: dict[str, Path] = {}
    for path, own, others in zip(paths, ends, (ends[:n] + ends[n + 1 :] for n in range(len(ends))), strict=True):
        name = next((end for end in own if not any(end in other for other in others)), str(path))
        if name in found:
            raise ConfigError(f"{path} is given twice. Give each run once.")
        found[name] = path
    return found


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel compare-runs") -> None:
    args = parse_args(arguments, prog)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: compare(args), args.debug)

"""Verify checkpoints and print what is inside. Exit status 1 if one is damaged, or holds what is not finite."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from pseudo_gumbel.cli.options import add_debug, make_parser

EXAMPLES = """\
examples:
  one checkpoint            pseudo-gumbel check-checkpoint work_dirs/pseudo_gumbel_tiny/iter_200.pth
  all those of a work dir   pseudo-gumbel check-checkpoint work_dirs/pseudo_gumbel_tiny
  published weights         pseudo-gumbel check-checkpoint weights/Sa2VA-4B
"""


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel check-checkpoint") -> None:
    parser = make_parser(prog, __doc__, EXAMPLES)
    parser.add_argument("path", metavar="PATH", type=Path, help="a checkpoint, a work dir, or published weights")
    add_debug(parser)
    args = parser.parse_args(arguments)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: check(args.path), args.debug)


def check(path: Path) -> None:
    from sa2va_native.engine.checkpoints.checkpointing import checkpoints_of, is_run_checkpoint
    from sa2va_native.errors import CheckpointError, printable

    paths = [path] if is_run_checkpoint(path) else [one.path for one in checkpoints_of(path)] or [path]
    bad = 0
    for one in paths:
        print(one)
        try:
            for title, text in _of_run(one) if is_run_checkpoint(one) else _of_weights(one):
                print(printable(f"  {title:<12} {text}"))
        except CheckpointError as error:
            bad += 1
            print(f"  {'NOT USABLE':<12} {printable(str(error))}")
    sys.exit(1 if bad else 0)


def _of_run(path: Path) -> Iterator[tuple[str, str]]:
    from sa2va_native.engine.checkpoints.checkpointing import require_checkpoint
    from sa2va_native.engine.checkpoints.contents import describe

    return describe(Path(require_checkpoint(path)))


def _of_weights(path: Path) -> Iterator[tuple[str, str]]:
    from sa2va_native.checkpoints.importing import open_source
    from sa2va_native.engine.checkpoints.fitting import require_finite

    source = open_source(path)
    yield "layout", source.layout.title
    yield "tensors", str(len(source.tensors))
    if source.unexplained:
        yield "unexplained", f"{len(source.unexplained)} names, e.g. {source.unexplained[0]}"
    require_finite(((name, tensor.read()) for name, tensor in source.tensors.items()), str(path))
    yield "values", "all finite"

"""Ask a model in the browser: mark a region and read what it says, or name an object and see it found."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pseudo_gumbel.cli.options import add_debug, make_parser, whole

EXAMPLES = """\
A MODEL is a config, a run's work dir, or an exported or published directory.

examples:
  the tiny model, on a CPU           pseudo-gumbel demo
  a run                              pseudo-gumbel demo --model work_dirs/word_trials_tiny
  before and after, side by side     pseudo-gumbel demo --compare sa2va_tiny work_dirs/word_trials_tiny
"""


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel demo") -> None:
    parser = make_parser(prog, __doc__, EXAMPLES)
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--model", help="who answers (default: the tiny model with its shipped weights)")
    asked.add_argument("--compare", nargs=2, metavar=("MODEL", "MODEL"), help="two that answer side by side")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine)")
    parser.add_argument("--port", type=whole(1, 65535), default=7860, help="default: %(default)s")
    add_debug(parser)
    args = parser.parse_args(arguments)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: demo(args), args.debug)


def demo(args: argparse.Namespace) -> None:
    from pseudo_gumbel.web.server import require_gradio, serve

    require_gradio()  # before the models, which may take minutes
    from pseudo_gumbel.load_inference import DEFAULT_MODEL, load_inference
    from pseudo_gumbel.web.answers import NamedModel

    names = args.compare or [args.model or DEFAULT_MODEL]
    serve([NamedModel(name, load_inference(name)) for name in names], args.host, args.port)

"""The parser and the options that the commands share."""

from __future__ import annotations

import argparse
import contextlib
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from pseudo_gumbel.cli import COMMANDS


class _Parser(argparse.ArgumentParser):
    """One line for a wrong command line, without the usage, which would fill the screen."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} ({self.prog} --help lists the options)\n")


def make_parser(prog: str, description: str | None, examples: str) -> argparse.ArgumentParser:
    """A parser with examples below its options.

    Args:
        prog: ``pseudo-gumbel COMMAND``, or the script of ``tools/`` that was called.
        examples: written with console commands; a script shows them with the names of scripts.
    """
    return _Parser(
        prog=prog,
        description=in_words_of(prog, description or ""),
        epilog=in_words_of(prog, examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def in_words_of(prog: str, text: str) -> str:
    """``text``; if a script was called, with scripts for console commands, as a checkout need not be installed."""
    if not prog.startswith("tools/"):
        return text
    return re.sub(
        r"pseudo-gumbel ([a-z-]+)", lambda call: COMMANDS[call[1]].tool if call[1] in COMMANDS else call[0], text
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """The config, by path or by name."""
    parser.add_argument("config", help="a file, or the name of a shipped config, e.g. pseudo_gumbel_tiny")


def add_weights(parser: argparse.ArgumentParser) -> None:
    """The base weights."""
    parser.add_argument(
        "--weights",
        nargs="+",
        metavar="PATH",
        help="base weights: paths, names on the Hugging Face hub such as ByteDance/Sa2VA-4B, or 'none' for random ones "
        "(default: the config's, else $SA2VA_WEIGHTS)",
    )


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Overrides of single values of the config."""
    parser.add_argument("--cfg-options", nargs="+", action=_CfgOptions, metavar="KEY=VALUE", help="override the config")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Data to train on, what is learnt from it, and data to evaluate on meanwhile."""
    parser.add_argument(
        "--data-root",
        action=_DataRoot,
        metavar="PATH",
        help="data to train on: a data.jsonl, or a set laid out as in docs/data; may be given several times",
    )
    parser.add_argument(
        "--kind",
        nargs="+",
        action=_Kinds,
        metavar="KIND[:WEIGHT]",
        help="of the data-root before it: refer, caption or cycle, and nothing else is trained (without: masks for "
        "the cycle, beside the config's expressions)",
    )
    held_out = parser.add_mutually_exclusive_group()
    held_out.add_argument("--val-root", metavar="PATH", help="data to evaluate on while training")
    held_out.add_argument(
        "--val-share", type=share, metavar="SHARE", help="share of the pictures to hold out and evaluate on, e.g. 0.1"
    )
    parser.add_argument(
        "--val-interval", type=whole(1), metavar="N", help="steps between evaluations (default: a fifth of the run)"
    )


def add_index_dir(parser: argparse.ArgumentParser) -> None:
    """Where indices of large sets go."""
    parser.add_argument(
        "--index-dir", metavar="DIR", help="folder for the indices of large sets (default: .index in each set)"
    )


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Tracebacks of errors."""
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def whole(low: int, high: int = 10**12) -> Callable[[str], int]:
    """``type`` of an option that takes whole numbers from ``low`` to ``high``."""

    def parse(text: str) -> int:
        with contextlib.suppress(ValueError):
            if low <= int(text) <= high:
                return int(text)
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from {low} to {high}")

    return parse


def positive(text: str) -> float:
    """``type`` of an option that takes numbers above 0."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text}: expected a number above 0")


def share(text: str) -> float:
    """``type`` of an option that takes numbers above 0 and below 1."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 1:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text}: expected a number above 0 and below 1")


class _DataRoot(argparse.Action):
    """Collects ``(path, kinds)``; the kinds follow with ``--kind``."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        namespace.data_root = [*(namespace.data_root or []), (values, [])]


class _Kinds(argparse.Action):
    """Adds ``(kind, weight)`` to the ``--data-root`` before it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if not getattr(namespace, "data_root", None):
            parser.error("--kind: give it after the --data-root that it is of")
        for value in values:
            kind, _, weight = value.partition(":")
            if kind not in ("refer", "caption", "cycle"):
                parser.error(f"--kind {value}: expected refer, caption or cycle, with :WEIGHT where sets are mixed")
            try:
                namespace.data_root[-1][1].append((kind, positive(weight) if weight else 1.0))
            except argparse.ArgumentTypeError as error:
                parser.error(f"--kind {value}: {error}")


class _CfgOptions(argparse.Action):
    """Our ``DictAction``, imported when it is used: ``--help`` should not wait for MMEngine."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        from sa2va_native.engine.config.options import DictAction

        DictAction(self.option_strings, self.dest, nargs=self.nargs)(parser, namespace, values, option_string)

"""Show a config as a run would see it, and which file set each value."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pseudo_gumbel.cli.options import add_cfg_options, add_config, add_debug, make_parser

EXAMPLES = """\
examples:
  everything           pseudo-gumbel print-config pseudo_gumbel_4b
  one part             pseudo-gumbel print-config pseudo_gumbel_4b --only model.sa2va.lora optim_wrapper
  with an override     pseudo-gumbel print-config CONFIG --cfg-options optim_wrapper.optimizer.lr=1e-4
"""
COMMAND_LINE = "command line"


def main(arguments: Sequence[str] | None = None, prog: str = "pseudo-gumbel print-config") -> None:
    parser = make_parser(prog, __doc__, EXAMPLES)
    add_config(parser)
    parser.add_argument("--only", nargs="+", metavar="KEY", help="parts of the config, as dotted keys")
    add_cfg_options(parser)
    add_debug(parser)
    args = parser.parse_args(arguments)
    from sa2va_native.engine.run.launch import run_tool

    run_tool(lambda: show(args), args.debug)


def show(args: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sa2va_native.errors import ConfigError, did_you_mean

    lines = settings(args.config, args.cfg_options)
    for part in args.only or ():
        if part not in {line.key for line in lines}:
            raise ConfigError(
                f"--only {part}: the config has no such key. {did_you_mean(part, [x.key for x in lines])}"
            )
    table = Table("setting", "value", "set by", box=None, pad_edge=False, header_style="bold")
    for line in lines:
        if not args.only or any(_inside(line.key, part) or _inside(part, line.key) for part in args.only):
            *above, name = line.key.split(".")
            style = "bold" if line.origin == COMMAND_LINE else "dim"
            table.add_row(Text("  " * len(above) + name), Text(line.value), Text(line.origin, style))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 300  # a file or a pipe takes long lines
    console.print(table)


def _inside(key: str, part: str) -> bool:
    """Whether a dotted key is ``part`` or below it."""
    return f"{key}.".startswith(f"{part}.")


class Line(NamedTuple):
    """One setting, or the name above several."""

    key: str  #: dotted
    value: str = ""
    origin: str = ""


def settings(config: str, options: dict[str, Any] | None = None) -> list[Line]:
    """The merged config, line by line; helper variables are left out."""
    from sa2va_native.engine.config.provenance import Place, leaves, provenance
    from sa2va_native.engine.run import launch
    from sa2va_native.files.paths import ROOT

    cfg = launch.load_config(config, options).to_dict()
    files = provenance(config)

    def origin(place: Place) -> str:
        key = ".".join(map(str, place))
        if any(f"{key}.".startswith(f"{option}.") for option in options or ()):
            return COMMAND_LINE
        if place not in files:
            return "default"  # the work dir, named after the config
        path = files[place].resolve()
        return str(path.relative_to(ROOT / "configs") if path.is_relative_to(ROOT / "configs") else path)

    def lines(value: Any, place: Place) -> Iterator[Line]:
        key, inside = ".".join(map(str, place)), list(leaves(value, place))
        origins = {origin(leaf) for leaf, _ in inside}
        is_row = isinstance(value, (list, tuple)) and all(len(leaf) == len(place) + 1 for leaf, _ in inside)
        if inside[0][0] == place or (is_row and len(origins) == 1):
            # A class, in a config that was read: its dotted path.
            text = value.rpartition(".")[2] if place[-1] == "type" and isinstance(value, str) else repr(value)
            yield Line(key, text, origins.pop())
            return
        yield Line(key)
        for name, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from lines(entry, (*place, name))

    return [line for name, value in cfg.items() if not name.startswith("_") for line in lines(value, (name,))]

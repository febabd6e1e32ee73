"""Shared by the commands that start several ranks."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from pseudo_gumbel.cli.options import in_words_of
from sa2va_native.engine.config.find_config import find_config
from sa2va_native.errors import ConfigError

#: What ranks use if neither an option nor the config names anything.
_DEEPSPEED = "zero2"


class Launch(NamedTuple):
    """The parsed command line of a launcher."""

    before: list[str]  #: positional arguments before the config
    config: str  #: path of the config
    ranks: int  #: as given
    world_size: int  #: ranks on all machines
    options: list[str]  #: of ``train``


def read_command_line(
    arguments: Sequence[str] | None,
    prog: str,
    usage: str,
    before: int = 0,
    count: Callable[[int], int] = lambda ranks: ranks,
) -> Launch:
    """``[...] CONFIG N [options of train]``; ``--dry-run`` among the options ends here, in one process.

    Args:
        arguments: command line (default: that of this process).
        usage: shown on ``--help``, and with exit status 2 if something is missing.
        before: how many positional arguments come before the config.
        count: the ranks of all machines where N is given; refuses what cannot work with a ConfigError.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] in (["-h"], ["--help"]):
        print(in_words_of(prog, usage), end="")
        sys.exit(0)
    if len(given) < before + 2:
        print(in_words_of(prog, usage), end="", file=sys.stderr)
        sys.exit(2)
    config, ranks, *options = given[before:]
    if not re.fullmatch("[1-9][0-9]*", ranks):
        fail(prog, f"number of ranks '{ranks}' is not a positive integer")
    try:
        config = str(find_config(config))
        world_size = count(int(ranks))
    except ConfigError as error:
        fail(prog, str(error))
    options += ["--deepspeed-default", _DEEPSPEED]
    if "--dry-run" in options:
        from pseudo_gumbel.cli.train import main

        main([config, "--ranks", str(world_size), *options])
    return Launch(given[:before], config, int(ranks), world_size, options)


def train_command(launch: Launch, launcher: str) -> list[str]:
    """What a rank runs. ``-P``: the folder it is started from must not shadow packages."""
    train = [sys.executable, "-u", "-P", "-m", "pseudo_gumbel", "train", launch.config]
    return [*train, "--launcher", launcher, "--ranks", str(launch.world_size), *launch.options]


def fail(prog: str, message: str) -> NoReturn:
    """One line, and exit status 1."""
    print(f"{os.path.basename(prog)}: {message}", file=sys.stderr)
    sys.exit(1)

"""What launchers put into the environment: honoured or refused, never ignored."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from sa2va_native.errors import ConfigError

#: What each launcher must say: the number of ranks, and which one this is, come first.
_SAID_BY = {
    "pytorch": ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_PORT"),
    "slurm": ("SLURM_NTASKS", "SLURM_PROCID"),
    "mpi": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
}
#: Counts and numbers that, if they are others, speak of more ranks than this process.
_ALONE = {
    **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE", "NNODES", "NPROC_PER_NODE"), ("1",)),
    **dict.fromkeys(("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"), ("1",)),
    **dict.fromkeys(("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK"), ("0",)),
    "MASTER_ADDR": ("127.0.0.1", "::1", "localhost", socket.gethostname()),
}


def require_launcher(launcher: str, environment: Mapping[str, str] = os.environ) -> None:
    """Checks that the environment is that of a rank of a launcher, or of a process that has none.

    Args:
        launcher: ``"none"``, ``"pytorch"``, ``"slurm"`` or ``"mpi"``.

    Raises:
        ConfigError: it is not; the variable is named.
    """
    if port := environment.get("MASTER_PORT"):
        _port(port)
    if (ends := environment.get("SLURM_JOB_END_TIME")) and not ends.isdecimal():
        raise ConfigError(f"SLURM_JOB_END_TIME={ends}: expected seconds since 1970, as Slurm says it. Unset it.")
    if launcher == "none":
        if several := _others(_ALONE, environment):
            raise ConfigError(
                f"{_said(several, environment)} in the environment, but this process was not told that a launcher "
                "started it, and would train alone. Unset it, or add --launcher pytorch, slurm or mpi."
            )
        return
    for name in _SAID_BY[launcher]:
        if not environment.get(name, "").isdecimal():
            raise ConfigError(
                f"--launcher {launcher}: {_said([name], environment)} in the environment, where that launcher puts a "
                "number. Start the ranks with it, or on one machine with pseudo-gumbel dist-train CONFIG N."
            )
    ranks, rank, *_ = (int(environment[name]) for name in _SAID_BY[launcher])
    if rank >= ranks:
        raise ConfigError(f"--launcher {launcher}: {_said(_SAID_BY[launcher][:2], environment)}: ranks count from 0.")


def require_no_launcher(ranks: int, environment: Mapping[str, str] = os.environ) -> None:
    """Checks that the environment does not contradict a launcher that starts ``ranks`` ranks on this machine alone.

    Raises:
        ConfigError: it does; the variable is named.
    """
    here = dict.fromkeys(("NPROC_PER_NODE", "LOCAL_WORLD_SIZE"), (str(ranks),))
    if wrong := _others({**_ALONE, **here, "WORLD_SIZE": ("1", str(ranks))}, environment):
        raise ConfigError(
            f"{_said(wrong, environment)} in the environment, but this starts {ranks} ranks on this machine alone. "
            "Unset it; for several machines use pseudo-gumbel slurm-train, or torchrun as in docs/running.md."
        )


def require_port(port: str) -> int:
    """The number of a port that is free.

    Raises:
        ConfigError: it is none, or something listens there.
    """
    number = _port(port)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the ranks do: one that was just left is free
        try:
            probe.bind(("", number))
        except OSError as error:
            raise ConfigError(
                f"MASTER_PORT={port} cannot be used ({error.strerror}). Leave it out for a free one, or choose another."
            ) from error
    return number


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise ConfigError(f"MASTER_PORT={text}: expected a number from 1 to 65535.")
    return int(text)


def _others(agreeing: Mapping[str, tuple[str, ...]], environment: Mapping[str, str]) -> list[str]:
    """The variables that say something else; an empty one says nothing."""
    return [name for name, values in agreeing.items() if environment.get(name) and environment[name] not in values]


def _said(names: list[str] | tuple[str, ...], environment: Mapping[str, str]) -> str:
    shown = [f"{name}={environment[name]}" if environment.get(name) else f"no {name}" for name in names]
    return f"{', '.join(shown)} {'are' if len(shown) > 1 else 'is'}"

"""What launchers put into the environment: honoured or refused, never ignored."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import NamedTuple

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
#: Where ranks of several machines meet, if neither PORT nor MASTER_PORT says so; MM's own.
_MEETING_PORT = "29500"


class Machines(NamedTuple):
    """The machines that ranks are started on, each by a launcher of its own."""

    total: int
    number: int  #: of this one, from 0
    address: str  #: where rank 0 listens for the others
    port: int | None  #: None for any that is free


#: A run on this machine alone.
ALONE = Machines(1, 0, "127.0.0.1", None)


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


def read_machines(ranks: int, environment: Mapping[str, str] = os.environ) -> Machines:
    """The machines of a run in the variables of the OpenMMLab projects: NNODES, NODE_RANK, MASTER_ADDR, PORT.

    Args:
        ranks: of each machine.

    Raises:
        ConfigError: one is missing or cannot be, a variable of another launcher contradicts them, or the port is taken.
    """
    ports = {name: environment[name] for name in ("PORT", "MASTER_PORT") if environment.get(name)}
    if len({*ports.values()}) > 1:
        raise ConfigError(f"{_said([*ports], environment)} in the environment, which mean one port. Unset one of them.")
    name, port = next(iter(ports.items()), ("PORT", ""))
    if environment.get("NNODES", "") in ("", "1"):
        require_no_launcher(ranks, environment)
        return ALONE._replace(port=require_port(port, name)) if port else ALONE
    count = _whole("NNODES", environment, 1)
    number, address = _whole("NODE_RANK", environment, 0, count - 1), environment.get("MASTER_ADDR", "")
    here = dict.fromkeys(("NPROC_PER_NODE", "LOCAL_WORLD_SIZE"), (str(ranks),))
    here |= {"NNODES": (str(count),), "NODE_RANK": (str(number),), "MASTER_ADDR": (address,)}
    if wrong := _others({**_ALONE, **here, "WORLD_SIZE": ("1", str(count * ranks))}, environment):
        raise ConfigError(
            f"{_said(wrong, environment)} in the environment, but this starts {ranks} ranks on machine {number} of "
            f"{count}. Unset it."
        )
    if not _is_known(address):
        raise ConfigError(
            f"NNODES={count}: {_said(['MASTER_ADDR'], environment)} in the environment, expected a name or address "
            "under which every machine reaches machine 0."
        )
    port = port or _MEETING_PORT
    return Machines(count, number, address, require_port(port, name) if number == 0 else _port(port, name))


def require_no_launcher(ranks: int, environment: Mapping[str, str] = os.environ) -> None:
    """Checks that the environment does not contradict a launcher that starts ``ranks`` ranks on this machine alone.

    Raises:
        ConfigError: it does; the variable is named.
    """
    here = dict.fromkeys(("NPROC_PER_NODE", "LOCAL_WORLD_SIZE"), (str(ranks),))
    if wrong := _others({**_ALONE, **here, "WORLD_SIZE": ("1", str(ranks))}, environment):
        raise ConfigError(
            f"{_said(wrong, environment)} in the environment, but this starts {ranks} ranks on this machine alone. "
            "Unset it; on several machines set NNODES, NODE_RANK, MASTER_ADDR and PORT on each and use pseudo-gumbel "
            "dist-train (docs/running.md), or use pseudo-gumbel slurm-train."
        )


def require_port(port: str, name: str = "MASTER_PORT") -> int:
    """The number of a port that is free.

    Args:
        name: of the variable that it is from.

    Raises:
        ConfigError: it is none, or something listens there.
    """
    number = _port(port, name)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the ranks do: one that was just left is free
        try:
            probe.bind(("", number))
        except OSError as error:
            raise ConfigError(
                f"{name}={port} cannot be used ({error.strerror}). Leave it out for a free one, or choose another."
            ) from error
    return number


def _port(text: str, name: str = "MASTER_PORT") -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise ConfigError(f"{name}={text}: expected a number from 1 to 65535.")
    return int(text)


def _whole(name: str, environment: Mapping[str, str], low: int, high: int = 10**6) -> int:
    text = environment.get(name, "")
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ConfigError(f"{_said([name], environment)} in the environment, expected a number from {low} to {high}.")
    return int(text)


def _is_known(host: str) -> bool:
    try:
        return bool(host and socket.getaddrinfo(host, None))
    except OSError:
        return False


def _others(agreeing: Mapping[str, tuple[str, ...]], environment: Mapping[str, str]) -> list[str]:
    """The variables that say something else; an empty one says nothing."""
    return [name for name, values in agreeing.items() if environment.get(name) and environment[name] not in values]


def _said(names: list[str] | tuple[str, ...], environment: Mapping[str, str]) -> str:
    shown = [f"{name}={environment[name]}" if environment.get(name) else f"no {name}" for name in names]
    return f"{', '.join(shown)} {'are' if len(shown) > 1 else 'is'}"

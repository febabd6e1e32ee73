"""What is left in the environment by launchers is honoured or refused."""

from __future__ import annotations

import socket

import pytest

from sa2va_native.errors import ConfigError
from sa2va_native.parallel.launchers import (
    ALONE,
    Machines,
    read_machines,
    require_launcher,
    require_no_launcher,
    require_port,
)

RANK = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("launcher", "environment", "message"),
    [
        ("none", {"WORLD_SIZE": "2", "RANK": "0"}, "^WORLD_SIZE=2 is in the environment, .*--launcher pytorch"),
        ("none", RANK, "^WORLD_SIZE=2, RANK=1, LOCAL_RANK=1 are in the environment"),
        ("none", {"SLURM_STEP_NUM_TASKS": "4"}, "^SLURM_STEP_NUM_TASKS=4 is"),
        ("none", {"NNODES": "2", "NODE_RANK": "1"}, "^NNODES=2, NODE_RANK=1 are"),
        ("none", {"NPROC_PER_NODE": "8"}, "^NPROC_PER_NODE=8 is"),
        ("none", {"LOCAL_RANK": "x"}, "^LOCAL_RANK=x is"),
        ("none", {"MASTER_ADDR": "10.255.0.1"}, "^MASTER_ADDR=10.255.0.1 is"),
        ("none", {"SLURM_JOB_END_TIME": "soon"}, "^SLURM_JOB_END_TIME=soon: expected seconds since 1970"),
        ("none", {"MASTER_PORT": "abc"}, "^MASTER_PORT=abc: expected a number from 1"),
        ("pytorch", {**RANK, "MASTER_PORT": "99999"}, "^MASTER_PORT=99999: expected a number from 1"),
        ("pytorch", {}, "^--launcher pytorch: no WORLD_SIZE is in the environment"),
        ("pytorch", {**RANK, "RANK": "one"}, "RANK=one is in the environment, where"),
        ("pytorch", {**RANK, "RANK": "2"}, "WORLD_SIZE=2, RANK=2 are: ranks count from 0"),
        ("slurm", RANK, "no SLURM_NTASKS is"),
        ("mpi", RANK, "no OMPI_COMM_WORLD_SIZE is"),
    ],
)
def test_an_environment_that_is_not_the_launchers_is_refused(
    launcher: str, environment: dict[str, str], message: str
) -> None:
    """Red when such a run hangs for ranks that never come, trains alone, or dies with a KeyError."""
    with pytest.raises(ConfigError, match=message):
        require_launcher(launcher, environment)


@pytest.mark.parametrize(
    ("launcher", "environment"),
    [
        ("none", {}),
        ("none", {"WORLD_SIZE": "1", "RANK": "0", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1"}),
        ("none", {"WORLD_SIZE": "", "NNODES": "", "MASTER_ADDR": "localhost", "MASTER_PORT": ""}),
        ("pytorch", RANK),
        ("slurm", {"SLURM_NTASKS": "8", "SLURM_PROCID": "7", "WORLD_SIZE": "3"}),
    ],
)
def test_an_environment_that_agrees_passes(launcher: str, environment: dict[str, str]) -> None:
    """Red when a shell inside an allocation, or a job of one process, cannot train."""
    require_launcher(launcher, environment)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NNODES", "2"), ("NODE_RANK", "1"), ("MASTER_ADDR", "10.255.0.1"), ("WORLD_SIZE", "16"), ("RANK", "1"),
        ("LOCAL_RANK", "3"), ("NPROC_PER_NODE", "8"), ("SLURM_STEP_NUM_TASKS", "8"),
    ],
)  # fmt: skip
def test_another_machine_or_launcher_is_refused(name: str, value: str) -> None:
    """Red when two machines train two runs into one work dir, each thinking it is alone."""
    with pytest.raises(ConfigError, match=f"^{name}={value} is in the environment, but this starts 4 ranks on this"):
        require_no_launcher(4, {name: value, "NNODES" if name != "NNODES" else "RANK": ""})


def test_what_agrees_with_one_machine_passes() -> None:
    """Red when a container of one machine, whose scheduler sets these, cannot train."""
    said = {"NNODES": "1", "NODE_RANK": "0", "RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": socket.gethostname()}
    require_no_launcher(4, {**said, "NPROC_PER_NODE": "4"})


def test_a_port_that_is_taken_or_none_is_refused() -> None:
    """Red when the ranks start and die of it one by one."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        with pytest.raises(ConfigError, match=f"MASTER_PORT={port} cannot be used .Address already in use.. Leave it"):
            require_port(port)
    assert require_port(port) == int(port)
    for wrong in ("0", "65536", "-1", "http", ""):
        with pytest.raises(ConfigError, match="expected a number from 1 to 65535"):
            require_port(wrong)


TWO = {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "127.0.0.1"}


@pytest.mark.parametrize(
    ("environment", "machines"),
    [
        ({}, ALONE),
        ({"NNODES": "1", "NODE_RANK": "0"}, ALONE),
        (TWO, Machines(2, 1, "127.0.0.1", 29500)),
        ({**TWO, "PORT": "29777", "NPROC_PER_NODE": "4", "WORLD_SIZE": "8"}, Machines(2, 1, "127.0.0.1", 29777)),
        ({**TWO, "MASTER_PORT": "29778", "PORT": ""}, Machines(2, 1, "127.0.0.1", 29778)),
    ],
)
def test_several_machines_are_told_as_openmmlab_has_it(environment: dict[str, str], machines: Machines) -> None:
    """Red when each of two machines takes itself for the only one, or they meet at different ports."""
    assert read_machines(4, environment) == machines


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({**TWO, "NODE_RANK": ""}, "^no NODE_RANK is in the environment, expected a number from 0 to 1"),
        ({**TWO, "NODE_RANK": "2"}, "^NODE_RANK=2 is in the environment, expected a number from 0 to 1"),
        ({**TWO, "NNODES": "two"}, "^NNODES=two is"),
        ({**TWO, "NNODES": "0"}, "^NNODES=0 is"),
        ({**TWO, "MASTER_ADDR": ""}, "^NNODES=2: no MASTER_ADDR is .* reaches machine 0"),
        ({**TWO, "MASTER_ADDR": "no such host"}, "^NNODES=2: MASTER_ADDR=no such host is"),
        ({**TWO, "PORT": "0"}, "^PORT=0: expected a number from 1"),
        ({**TWO, "PORT": "29777", "MASTER_PORT": "29778"}, "^PORT=29777, MASTER_PORT=29778 are .* one port"),
        ({**TWO, "RANK": "5"}, "^RANK=5 is .* starts 4 ranks on machine 1 of 2"),
        ({**TWO, "WORLD_SIZE": "4"}, "^WORLD_SIZE=4 is .* starts 4 ranks on machine 1 of 2"),
        ({"NODE_RANK": "1"}, "^NODE_RANK=1 is .* 4 ranks on this machine alone"),
        ({"PORT": "x"}, "^PORT=x: expected a number"),
    ],
)
def test_several_machines_that_cannot_meet_are_refused(environment: dict[str, str], message: str) -> None:
    """Red when a forgotten variable lets one machine train alone, or wait for the others until a timeout."""
    with pytest.raises(ConfigError, match=message):
        read_machines(4, environment)


def test_only_the_first_machine_needs_its_port_free() -> None:
    """Red when a port of another machine is looked for here, or rank 0 finds out by itself that it is taken."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        said = {**TWO, "PORT": str(other.getsockname()[1])}
        assert read_machines(1, said).number == 1
        with pytest.raises(ConfigError, match=r"^PORT=.* cannot be used"):
            read_machines(1, {**said, "NODE_RANK": "0"})

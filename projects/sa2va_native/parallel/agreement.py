"""Decisions that all ranks share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process

from sa2va_native.errors import Sa2VAError

Decision = TypeVar("Decision")


def from_main_rank(decide: Callable[[], Decision]) -> Decision:
    """What ``decide`` returns on rank 0, on all ranks; the others do not call it. A collective.

    Raises:
        Sa2VAError: that which ``decide`` raises on rank 0, on all ranks.
    """
    outcome: list = [None]
    if is_main_process():
        try:
            outcome = [decide()]
        except Sa2VAError as error:
            outcome = [error]
    broadcast_object_list(outcome)
    if isinstance(outcome[0], Sa2VAError):
        raise outcome[0]
    return outcome[0]


def on_any_rank(check: Callable[[], None]) -> None:
    """Calls ``check`` on every rank, each with its own part. A collective.

    Raises:
        Sa2VAError: that of the first rank on which ``check`` raises one, on all ranks.
    """
    error: Sa2VAError | None = None
    try:
        check()
    except Sa2VAError as own:
        error = own
    if first := next((one for one in all_gather_object(error) if one is not None), None):
        raise first


def on_all_ranks(answer: bool) -> bool:
    """Whether all ranks answer yes. A collective."""
    return all(all_gather_object(answer))

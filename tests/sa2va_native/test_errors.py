"""Errors arrive as they were raised, and can be shown."""

from __future__ import annotations

import pickle

from sa2va_native.errors import BadSample


def test_a_bad_sample_crosses_processes_and_can_be_written() -> None:
    """Red when a worker's error loses its parts, or half a surrogate pair of a file ends the run that reports it."""
    error = pickle.loads(pickle.dumps(BadSample("a.json", "line 2", "unknown key 'tex\ud800'")))
    assert error.report() == {"path": "a.json", "record": "line 2", "reason": r"unknown key 'tex\ud800'"}
    assert str(error).encode().decode() == r"a.json: line 2: unknown key 'tex\ud800'"

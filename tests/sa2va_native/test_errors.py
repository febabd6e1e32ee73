"""Errors arrive as they were raised, and can be shown."""

from __future__ import annotations

import pickle

from sa2va_native.errors import BadSample, printable


def test_a_bad_sample_crosses_processes_and_can_be_written() -> None:
    """Red when a worker's error loses its parts, or half a surrogate pair of a file ends the run that reports it."""
    error = pickle.loads(pickle.dumps(BadSample("a.json", "line 2", "unknown key 'tex\ud800'")))
    assert error.report() == {"path": "a.json", "record": "line 2", "reason": r"unknown key 'tex\ud800'"}
    assert str(error).encode().decode() == r"a.json: line 2: unknown key 'tex\ud800'"


def test_a_name_cannot_forge_a_line_of_the_log() -> None:
    """Red when a line end, an escape sequence or a mark that turns the text around in a file name reaches the log."""
    name = "a\nERROR all is lost\r\x1b[2J\u202e\u2028.png"
    shown = str(BadSample(name, "line\n1", "odd\ttab"))
    assert shown == r"a\nERROR all is lost\r\x1b[2J\u202e\u2028.png: line\n1: odd\ttab"
    assert printable(shown) == shown, "once is enough"
    assert printable("фото é 猫 🐈.jpg") == "фото é 猫 🐈.jpg"

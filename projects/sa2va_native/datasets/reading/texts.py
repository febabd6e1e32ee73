"""Texts of records that nobody reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sa2va_native.errors import printable

_EXAMPLES = 8  # words that are named
#: Keys under which data sets and tools write the text of an object.
USUAL = ("caption", "captions", "description", "expression", "expressions", "sentence", "sentences", "text", "texts")


def unread_texts(records: Iterable[Mapping[Any, Any]], read: Collection[Any], remedy: str) -> list[str]:
    """A note for each usual key of texts that records have and nobody reads.

    Args:
        records: plain records.
        read: keys that are read.
        remedy: ends the notes; ``{key}`` in it is the key.
    """
    found = Counter(key for record in records for key in USUAL if key not in read and _holds_text(record.get(key)))
    return [
        f"{count:,} records have a '{key}', which is not read; {remedy.format(key=key)}" for key, count in found.items()
    ]


def is_text(value: Any) -> bool:
    """Whether it is a text that is not blank, or a list of texts."""
    if isinstance(value, list):
        return bool(value) and all(map(is_text, value))
    return isinstance(value, str) and bool(value.strip())


def _holds_text(value: Any) -> bool:
    """Whether it is or contains a text, as a list of captions of which one is empty, or REFER's ``[{"raw": ...}]``."""
    if isinstance(value, (dict, list)):
        return any(map(_holds_text, value.values() if isinstance(value, dict) else value))
    return is_text(value)


def unknown_note(words: Counter[str], concerned: int, texts: int) -> str:
    """What is said of words that a tokenizer does not know.

    Args:
        words: them, with how often each occurs.
        concerned: texts with one of them.
        texts: all texts that were looked at.
    """
    first = ", ".join(f"{word} ({count:,})" for word, count in words.most_common(_EXAMPLES))
    rest = ", ..." if len(words) > _EXAMPLES else ""
    return (
        f"the tokenizer does not know {len(words):,} words, which are lost in {concerned:,} of {texts:,} texts: "
        f"{printable(first)}{rest}"
    )

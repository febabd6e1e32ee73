"""Mirrors a sample: picture, mask and the words for sides in its text together, or not at all."""

from __future__ import annotations

import re

from sa2va_native.datasets.transforms import Sides
from sa2va_native.structures import Side

_SIDE = re.compile(r"\b(left|right)(?=(?:most|wards?|hand|side)?\b)", re.IGNORECASE)
_SWAPPED = {"left": "right", "right": "left"}
#: Texts that would be false for a mirrored picture, even with left and right swapped.
_KEPT = re.compile(
    r"\d|[\"“”]"  # writing, which cannot be read in a mirror
    r"|[^\W\d_a-z]"  # other languages, which may name a side
    r"|\b(?:l|r|lft|lef|rt|rgt|rigth|rite|lhs|rhs)\b"  # abbreviated and misspelt sides
    r"|\b(?:first|second|third|fourth|fifth|last|1st|2nd|3rd)\b"  # counting, which mostly starts from the left
    r"|\b(?:number|letter|word|text|writing|written|says?|reads?|reading|sign|logo|clock|o'clock)s?\b"
    r"|\b(?:(?:anti|counter)?-?clockwise|east(?:ern)?|west(?:ern)?)\b"
    # compounds that do not name a place, e.g. left-handed; top-left and left-most do
    r"|\b(?:left|right)-(?!most\b|hand\b|side\b)|(?<!top)(?<!bottom)(?<!upper)(?<!lower)(?<!far)-(?:left|right)\b"
    r"|\b(?:left|right)(?!(?:most|wards?|hand|side)?\b)\w"  # words that do not name a place, e.g. lefty
    # right meaning exactly or correct, left meaning gone or remaining
    r"|\bright (?:next|behind|in|near|by|beside|above|below|under|beneath|at|on|there|here|now|up|before|after|angle)\b"
    r"|\ball right\b|\bleft (?:over|out|behind|alone|open|unattended)\b|\bleftovers?\b|\b(?:is|are|has) left\b",
    re.IGNORECASE,
)


def flip(sides: Sides, text: str | None) -> tuple[Sides, str | None] | None:
    """Both frames mirrored, with their masks and regions, and the matching text; None if no text would be true.

    Works on tensors rather than pictures, so that mirroring does not change which cells an object covers.
    """
    if text is not None:
        text = flip_text(text)
        if text is None:
            return None
    return Sides(_mirror(sides.caption_side), sides.mask_side and _mirror(sides.mask_side)), text


def flip_text(text: str) -> str | None:
    """The text with ``left`` and ``right`` swapped as words; None if it would not be true of the mirrored picture."""
    if _KEPT.search(text):
        return None
    return _SIDE.sub(_swap, text)


def _swap(match: re.Match[str]) -> str:
    word = match.group()
    swapped = _SWAPPED[word.lower()]
    if word.isupper():
        return swapped.upper()
    return swapped.capitalize() if word[0].isupper() else swapped


def _mirror(side: Side) -> Side:
    return Side(*(tensor.flip(-1) for tensor in side))

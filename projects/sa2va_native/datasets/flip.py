"""Mirroring a sample: picture, mask and the sides in its text together, or not at all."""

from __future__ import annotations

import re

from sa2va_native.datasets.transforms import Sides
from sa2va_native.structures import Side

_SIDE = re.compile(r"\b(left|right)(?=(?:most|wards?|hand|side)?\b)", re.IGNORECASE)
_SWAPPED = {"left": "right", "right": "left"}
#: Where a mirrored picture would make the text a lie, or swapping its words would.
_KEPT = re.compile(
    r"\d|[\"“”]"  # something to be read, which mirrored writing is not
    r"|[^\W\d_a-z]"  # words of another language, which may name a side
    r"|\b(?:l|r|lft|lef|rt|rgt|rigth|rite|lhs|rhs)\b"  # sides as people abbreviate and misspell them
    r"|\b(?:first|second|third|fourth|fifth|last|1st|2nd|3rd)\b"  # counted from the left, as people mostly do
    r"|\b(?:number|letter|word|text|writing|written|says?|reads?|reading|sign|logo|clock|o'clock)s?\b"
    r"|\b(?:(?:anti|counter)?-?clockwise|east(?:ern)?|west(?:ern)?)\b"
    # sides in compounds that name no place, e.g. left-handed; top-left and left-most do
    r"|\b(?:left|right)-(?!most\b|hand\b|side\b)|(?<!top)(?<!bottom)(?<!upper)(?<!lower)(?<!far)-(?:left|right)\b"
    r"|\b(?:left|right)(?!(?:most|wards?|hand|side)?\b)\w"  # in words that name no place, e.g. lefty
    # right that means exactly or correct, left that means gone or remaining
    r"|\bright (?:next|behind|in|near|by|beside|above|below|under|beneath|at|on|there|here|now|up|before|after|angle)\b"
    r"|\ball right\b|\bleft (?:over|out|behind|alone|open|unattended)\b|\bleftovers?\b|\b(?:is|are|has) left\b",
    re.IGNORECASE,
)


def flip(sides: Sides, text: str | None) -> tuple[Sides, str | None] | None:
    """Both frames with their masks and regions in a mirror, and the text that is true of it; None where it would lie.

    Tensors rather than pictures: whether an object covers a cell does not depend on the mirror then.
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

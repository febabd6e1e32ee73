"""Mirroring a sample: picture, mask and the sides in its text together, or not at all."""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from projects.sa2va.structures import Sample

_SIDE = re.compile(r"\b(left|right)(?=(?:most|wards?|hand)?\b)", re.IGNORECASE)
_SWAPPED = {"left": "right", "right": "left"}
#: Where a mirrored picture would make the text a lie, or swapping its words would.
_KEPT = re.compile(
    r"\d|[\"“”]"  # something to be read, which mirrored writing is not
    r"|\b(?:number|letter|word|text|writing|written|says?|reads?|reading|sign|logo|clock|o'clock)s?\b"
    r"|\b(?:(?:anti|counter)?-?clockwise|east(?:ern)?|west(?:ern)?)\b"
    # sides in compounds that name no place, e.g. left-handed; top-left and left-most do
    r"|\b(?:left|right)-(?!most\b|hand\b|side\b)|(?<!top)(?<!bottom)(?<!upper)(?<!lower)(?<!far)-(?:left|right)\b"
    r"|\b(?:left|right)(?:y|ies|ed|handed|ist)\b"
    # right that means exactly or correct, left that means gone or remaining
    r"|\bright (?:next|behind|in|near|by|beside|above|below|under|beneath|at|on|there|here|now|up|before|after|angle)\b"
    r"|\ball right\b|\bleft (?:over|out|behind|alone|open|unattended)\b|\bleftovers?\b|\b(?:is|are|has) left\b",
    re.IGNORECASE,
)


def flip(sample: Sample) -> Sample | None:
    """The sample in a mirror, left and right swapped in both frames and in the text; None where its text would lie.

    Attributes are those of the object (colour, shape, size) and stay.
    """
    text = sample.text
    if text is not None:
        text = flip_text(text)
        if text is None:
            return None
    return dataclasses.replace(
        sample,
        image=_mirror(sample.image),
        mask=_mirror(sample.mask),
        text=text,
        image2=None if sample.image2 is None else _mirror(sample.image2),
        mask2=None if sample.mask2 is None else _mirror(sample.mask2),
    )


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


def _mirror(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[:, ::-1])

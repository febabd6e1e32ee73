"""Caption metrics as pure functions: are the words true, is it a sentence, are the captions different."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sa2va_native.datasets.scenes.language import COLOURS, SHAPES, SIZES, TEXTURES, parse_caption

#: The words of each attribute. Texture is also expressed by the absence of a word, so it is scored apart.
WORDS = {"colour": COLOURS, "shape": SHAPES, "size": SIZES}


def has_scene_attributes(attributes: Mapping[str, Any]) -> bool:
    """Whether these are the attributes of an object of a generated scene; other data sets have others, or none."""
    return {*WORDS, "texture"} <= attributes.keys()


def attribute_accuracy(captions: Sequence[str | None], attributes: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Share of captions whose word for an attribute is the true one: colour, shape, size, and their mean.

    An attribute counts as stated if the caption has exactly one distinct word of that kind; grammar does not
    matter here (see ``grammar_rate``). No caption, no such word, or two different ones are wrong.

    Args:
        captions: N generated captions; None for a missing one.
        attributes: N true attributes.

    Returns:
        ``colour``, ``shape``, ``size``, and their mean ``attribute_accuracy``, in 0..1; NaN without samples.
    """
    pairs = list(zip(captions, attributes, strict=True))
    rates = {
        name: sum(_said(caption, words) == true[name] for caption, true in pairs) / len(pairs)
        if pairs
        else float("nan")
        for name, words in WORDS.items()
    }
    return {"attribute_accuracy": sum(rates.values()) / len(rates), **rates}


def texture_accuracy(captions: Sequence[str | None], attributes: Sequence[Mapping[str, Any]]) -> float:
    """Share of captions that state the true texture, in 0..1; NaN without samples.

    A caption without a texture word says ``plain``; a missing or empty one says nothing and is wrong.
    """
    if not captions:
        return float("nan")
    return sum(_texture(caption) == true["texture"] for caption, true in zip(captions, attributes, strict=True)) / len(
        captions
    )


def absent_colour_rate(captions: Sequence[str | None], scene_colours: Sequence[Sequence[str]]) -> float:
    """Share of captions that name a colour which no object of the picture has, in 0..1; NaN without samples.

    A caption without a colour word names none; it counts as a caption all the same.

    Args:
        captions: N generated captions; None for a missing one.
        scene_colours: N lists of the colours of all objects of the picture.
    """
    if not captions:
        return float("nan")
    absent = [
        {word for word in (caption or "").split() if word in COLOURS} - set(present)
        for caption, present in zip(captions, scene_colours, strict=True)
    ]
    return sum(map(bool, absent)) / len(captions)


def grammar_rate(captions: Sequence[str | None]) -> float:
    """Share of captions that are sentences of the scene language, in 0..1; NaN without captions."""
    if not captions:
        return float("nan")
    return sum(bool(caption) and parse_caption(caption or "") is not None for caption in captions) / len(captions)


def _said(caption: str | None, words: Sequence[str]) -> str | None:
    found = {word for word in (caption or "").split() if word in words}
    return found.pop() if len(found) == 1 else None


def _texture(caption: str | None) -> str | None:
    if not (caption or "").strip():
        return None
    found = {word for word in (caption or "").split() if word in TEXTURES} or {"plain"}
    return found.pop() if len(found) == 1 else None

"""The closed language of the generated scenes: captions, referring expressions, and their grammar.

    caption     "a" noun-phrase                        a small striped red circle
    expression  "the" noun-phrase [relation "the" noun-phrase]
                                                       the red circle left of the green star
    noun-phrase [size] [texture] [colour] shape
    relation    "left of" | "right of" | "above" | "below"

A caption always states size, colour and shape, and the texture unless the object is plain. There is no word for
plain: a noun phrase without a texture fits every texture.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
#: The colour that a captioner with a wrong prior says instead; each is its partner's partner.
PARTNERS = {
    "red": "orange", "yellow": "green", "cyan": "blue", "purple": "pink",
    "orange": "red", "green": "yellow", "blue": "cyan", "pink": "purple",
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
SIZES = ("small", "large")
TEXTURES = ("plain", "striped", "dotted")
RELATIONS = ("left of", "right of", "above", "below")

#: All words, in a fixed order (a tokenizer may use it for its ids).
VOCABULARY = ("a", "the", *SIZES, *TEXTURES[1:], *COLOURS, *SHAPES, "left", "right", "of", "above", "below")

#: A third of the (colour, shape) pairs, two shapes of each colour, held out of every labelled split.
HELD_OUT_PAIRS = frozenset(
    (colour, shape)
    for (c, colour), (s, shape) in itertools.product(enumerate(COLOURS), enumerate(SHAPES))
    if (c + s) % 3 == 0
)

#: Two centres must be at least this far apart (in picture sides) for a relation between them to be stated.
RELATION_MARGIN = 0.1


class Describable(Protocol):
    """What the language needs to know about an object; ``x``, ``y``: its centre in picture sides, y down."""

    @property
    def colour(self) -> str: ...
    @property
    def shape(self) -> str: ...
    @property
    def size(self) -> str: ...
    @property
    def texture(self) -> str: ...
    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...


def describe(
    item: Describable, *, article: str = "a", size: bool = True, texture: bool = True, colour: bool = True
) -> str:
    """One noun phrase with its article; the full one is the object's caption.

    >>> describe(circle)                                         # doctest: +SKIP
    'a small red circle'
    """
    return _phrase(
        article,
        item.size if size else "",
        item.texture if texture else "",
        item.colour if colour else "",
        item.shape,
    )


def caption_of(attributes: Mapping[str, str]) -> str:
    """The caption of an object with these attributes: the inverse of :func:`parse_caption`."""
    return _phrase("a", *(attributes[name] for name in ("size", "texture", "colour", "shape")))


def parse_caption(text: str) -> dict[str, str] | None:
    """The attributes stated by a caption, or None if it is not a sentence of the caption grammar.

    Returns:
        ``{"size", "texture", "colour", "shape"}``; texture is ``"plain"`` if there is no texture word.
    """
    words = text.split()
    if len(words) == 4:
        words.insert(2, "plain")
    elif len(words) != 5 or words[2] == "plain":
        return None
    article, size, texture, colour, shape = words
    if article != "a" or size not in SIZES or texture not in TEXTURES or colour not in COLOURS or shape not in SHAPES:
        return None
    return {"size": size, "texture": texture, "colour": colour, "shape": shape}


def with_partner_colour(caption: str) -> str:
    """``caption`` with every colour word exchanged for its partner.

    >>> with_partner_colour("a small red circle")
    'a small orange circle'
    """
    return " ".join(PARTNERS.get(word, word) for word in caption.split())


def referring_expressions(objects: Sequence[Describable], target: int, rng: np.random.Generator) -> list[str]:
    """True expressions that fit ``objects[target]`` and nothing else in the scene.

    The shortest one without a relation, the full one, and one with a relation, if they exist; all different.

    A relation is stated only if it holds clearly (along the dominant axis, by ``RELATION_MARGIN``), and only if
    no other object fits even when relations are read loosely (any offset to that side).

    Returns:
        0 to 3 expressions. There are none if look-alikes also overlap in both axes; the generator rejects such
        scenes.
    """
    item = objects[target]
    found: list[str] = []
    plain = _unique_noun_phrases(objects, target)
    if plain:
        fewest = min(len(phrase.split()) for phrase in plain)
        found.append(_pick([phrase for phrase in plain if len(phrase.split()) == fewest], rng))
        full = describe(item, article="the")
        if full in plain and full not in found:
            found.append(full)
    related = [
        f"{head} {relation} {anchor}"
        for other in range(len(objects))
        if other != target
        for relation in RELATIONS
        if _holds(relation, item, objects[other], strict=True)
        for anchor in _shortest(_unique_noun_phrases(objects, other))
        for head in (describe(item, article="the", size=False, texture=False), describe(item, article="the"))
        if _denotes_only(objects, target, other, head, relation)
    ]
    if related:
        found.append(_pick(_shortest(related), rng))
    return found


def _noun_phrases(item: Describable) -> tuple[str, ...]:
    return _phrases(item.size, item.texture, item.colour, item.shape)


@functools.cache
def _phrases(size: str, texture: str, colour: str, shape: str) -> tuple[str, ...]:
    """Every noun phrase that fits these attributes, with "the"."""
    flags = itertools.product((False, True), repeat=3)
    phrases = (_phrase("the", size if s else "", texture if t else "", colour if c else "", shape) for s, t, c in flags)
    return tuple(dict.fromkeys(phrases))


def _phrase(*words: str) -> str:
    return " ".join(word for word in words if word not in ("", "plain"))


def _unique_noun_phrases(objects: Sequence[Describable], target: int) -> list[str]:
    return [
        phrase
        for phrase in _noun_phrases(objects[target])
        if not any(phrase in _noun_phrases(other) for i, other in enumerate(objects) if i != target)
    ]


def _denotes_only(objects: Sequence[Describable], target: int, anchor: int, head: str, relation: str) -> bool:
    return not any(
        head in _noun_phrases(other) and _holds(relation, other, objects[anchor], strict=False)
        for i, other in enumerate(objects)
        if i not in (target, anchor)
    )


def _holds(relation: str, item: Describable, anchor: Describable, *, strict: bool) -> bool:
    dx, dy = anchor.x - item.x, anchor.y - item.y
    along, across = {"left of": (dx, dy), "right of": (-dx, dy), "above": (dy, dx), "below": (-dy, dx)}[relation]
    return along >= max(RELATION_MARGIN, abs(across)) if strict else along > 0


def _shortest(phrases: list[str]) -> list[str]:
    fewest = min((len(phrase.split()) for phrase in phrases), default=0)
    return [phrase for phrase in phrases if len(phrase.split()) == fewest]


def _pick(phrases: list[str], rng: np.random.Generator) -> str:
    return phrases[int(rng.integers(len(phrases)))]

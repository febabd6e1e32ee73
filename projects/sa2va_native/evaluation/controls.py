"""What a cycle IoU is compared with: other texts for the same masks, and another reader for the same texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sa2va_native.datasets.scenes.language import COLOURS, SHAPES, SIZES, TEXTURES, caption_of
from sa2va_native.errors import ConfigError, did_you_mean

#: ``floor``: another object's caption; ``ceiling``: the true caption; ``stranger``: the object's own caption, read by a
#: model that was not trained with the captioner.
CONTROLS = ("floor", "ceiling", "stranger")

_WORDS = {"size": SIZES, "texture": TEXTURES, "colour": COLOURS, "shape": SHAPES}


def check_controls(controls: Sequence[str]) -> tuple[str, ...]:
    """``controls`` in the order of :data:`CONTROLS`.

    Raises:
        ConfigError: one is unknown.
    """
    for name in controls:
        if name not in CONTROLS:
            raise ConfigError(f"control {name!r} is unknown. {did_you_mean(name, CONTROLS)}")
    return tuple(name for name in CONTROLS if name in controls)


def derangement(count: int, seed: int) -> np.ndarray:
    """A permutation of ``range(count)`` without a fixed point: a random single cycle (Sattolo 1986).

    The only permutation of one item leaves it in its place.
    """
    order = np.arange(count)
    rng = np.random.default_rng(seed)
    for last in range(count - 1, 0, -1):
        other = int(rng.integers(last))  # below last, which an ordinary shuffle would include
        order[[last, other]] = order[[other, last]]
    return order


def exchange_captions(captions: Mapping[int, str | None], seed: int) -> dict[int, str | None]:
    """Gives each object another object's caption.

    Args:
        captions: by position in the data set; in whatever order, e.g. as ranks have them.
        seed: of the exchange.

    Returns:
        captions by position; None, which leads nowhere, for the only object of a set.
    """
    positions = sorted(captions)
    if len(positions) == 1:
        return dict.fromkeys(positions)
    order = derangement(len(positions), seed)
    return {position: captions[positions[other]] for position, other in zip(positions, order, strict=True)}


def true_caption(attributes: Mapping[str, Any], text: str | None) -> str | None:
    """A generated object's caption, from its attributes; of others the human text, or None."""
    if all(attributes.get(name) in words for name, words in _WORDS.items()):
        return caption_of(attributes)
    return text

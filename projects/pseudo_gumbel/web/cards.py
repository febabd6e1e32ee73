"""Parts of the page as HTML: text from outside is escaped, and pictures are ``data:`` URLs."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from PIL import Image

from pseudo_gumbel.web.answers import Answer
from pseudo_gumbel.web.drawings import SIDE, draw_answer, fitted
from pseudo_gumbel.web.examples import Example
from sa2va_native.evaluation.drawing import PREDICTED, REGION, Colour

THUMBNAIL = 160  #: longest side, pixels
_MILLISECONDS = 350  # a frame of a clip


def answer_cards(answers: Sequence[Answer]) -> str:
    """A card for each model: its words, the mask that they lead to, and how well that fits."""
    return _template("cards.html.jinja").render(
        answers=[(answer, _url(draw_answer(answer))) for answer in answers],
        named=len(answers) > 1,
        colours={"region": _css(REGION), "found": _css(PREDICTED)},
    )


def thumbnails(examples: Sequence[Example]) -> str:
    """A button for each example."""
    return _template("thumbnails.html.jinja").render(
        examples=[(example.name, picture_url(example.frames[0], THUMBNAIL)) for example in examples]
    )


def picture_url(frame: np.ndarray, side: int = SIDE) -> str:
    """A picture (H, W, 3) as a URL; ``side`` is the longest that it is shown with, in pixels."""
    return _url([fitted(frame, side)])


def hint(text: str) -> str:
    """What to do, where no answer is yet."""
    return _paragraph("pg-hint", text)


def about(text: str) -> str:
    """What something on the page is for."""
    return _paragraph("pg-about", text)


def sentence(text: str) -> str:
    """What went wrong, in one line."""
    return _paragraph("pg-sentence", " ".join(text.split()), ' role="alert"')


def _paragraph(kind: str, text: str, role: str = "") -> str:
    return f'<p class="{kind}"{role}>{html.escape(text)}</p>'


def _url(pictures: Sequence[Image.Image]) -> str:
    """Of a picture, or of several that follow one another."""
    first, *others = pictures
    moving: dict[str, Any] = dict(save_all=True, append_images=others, duration=_MILLISECONDS, loop=0)
    file = io.BytesIO()
    first.save(file, "WEBP", quality=90, **(moving if others else {}))
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()


def _css(colour: Colour) -> str:
    return "rgb({}, {}, {})".format(*colour)


@cache
def _template(name: str) -> Template:
    folder = PackageLoader("pseudo_gumbel.web", "templates")
    return Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template(name)

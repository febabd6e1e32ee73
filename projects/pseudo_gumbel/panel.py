"""One picture that shows one pass through the cycle: region, captions, predicted and true mask."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from pseudo_gumbel.trial_tiles import TRIED, TRIED_PAPER, TriedWord, draw_trial
from sa2va_native.evaluation.drawing import (
    FAINT,
    FRAME,
    INK,
    PAPER,
    PREDICTED,
    REGION,
    TRUE,
    enlarge,
    font,
    outline,
    tint,
)

TILE = 300  #: side of a picture in the panel, pixels
MARGIN = 20
_TITLE, _TEXT = 15, 16  # font sizes, pixels
_LINE = 23  # distance between lines of text, pixels


class Trial(NamedTuple):
    """The words that were tried at one place of the teacher's caption."""

    place: tuple[int, int]  #: begin and end of the place in the caption, in characters; equal if unknown
    words: list[TriedWord]


def draw_panel(
    image: np.ndarray,
    region: np.ndarray,
    mask_image: np.ndarray,
    pred_mask: np.ndarray,
    gt_mask: np.ndarray,
    teacher_caption: str,
    student_caption: str,
    footer: str = "",
    trials: Sequence[Trial] = (),
) -> np.ndarray:
    """Composes the panel.

    Three tiles: picture 1 with the region that is described, picture 2 with the true mask, and with the predicted one
    (tint by probability, outline at 0.5, thin outline of the true mask). Below them the teacher's and the student's
    captions, and a row of small tiles for each place where words were tried.

    Args:
        image: picture 1, (H, W, 3) uint8 RGB.
        region: (h, w), the region that is described; > 0.5 inside.
        mask_image: picture 2, (H, W, 3) uint8 RGB; for a still picture the same as ``image``.
        pred_mask: (h, w) probabilities in [0, 1].
        gt_mask: (h, w) in {0, 1}.
        teacher_caption: shown unchanged, but wrapped.
        student_caption: the same.
        footer: one line in small grey type, e.g. step and IoU.
        trials: marked in the teacher's caption.

    Returns:
        (panel height, panel width, 3) uint8 RGB.
    """
    picture1, picture2 = (
        Image.fromarray(side).convert("RGB").resize((TILE, TILE), Image.Resampling.BICUBIC)
        for side in (image, mask_image)
    )
    region, pred, true = (enlarge(mask, TILE) for mask in (region, pred_mask, gt_mask))
    tiles = [
        ("Picture 1 and region", outline(tint(picture1, (region > 0.5) * 0.25, REGION), region, REGION, 5)),
        ("Picture 2: true mask", outline(tint(picture2, (true > 0.5) * 0.45, TRUE), true, TRUE, 5)),
        (
            "Picture 2: predicted mask",
            outline(outline(tint(picture2, pred * 0.55, PREDICTED), true, TRUE, 3), pred, PREDICTED, 5),
        ),
    ]
    width = 3 * TILE + 4 * MARGIN
    captions = [("Teacher", _wrap(teacher_caption, width)), ("Student", _wrap(student_caption, width))]
    top = MARGIN + _LINE
    text_top = top + TILE + MARGIN
    lower = [draw_trial(picture2, gt_mask, trial.words, width - 2 * MARGIN) for trial in trials]
    height = text_top + sum(_LINE * len(lines) + 8 for _, lines in captions) + (_LINE if footer else 0) + MARGIN - 8
    height += sum(part.height + MARGIN for part in lower)
    panel = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(panel)
    for index, (title, tile) in enumerate(tiles):
        left = MARGIN + index * (TILE + MARGIN)
        draw.text((left, MARGIN - 6), title, fill=INK, font=font(_TITLE))
        panel.paste(tile, (left, top))
        draw.rectangle((left - 1, top - 1, left + TILE, top + TILE), outline=FRAME)
    for trial in trials:
        _mark(draw, captions[0][1], teacher_caption, trial.place, text_top)
    y = text_top
    for name, lines in captions:
        draw.text((MARGIN, y), name, fill=FAINT, font=font(_TEXT))
        for line in lines:
            draw.text((MARGIN + 90, y), line, fill=INK, font=font(_TEXT))
            y += _LINE
        y += 8
    for part in lower:
        panel.paste(part, (MARGIN, y + 8))
        y += part.height + MARGIN
    if footer:
        draw.text((MARGIN, y), footer, fill=FAINT, font=font(_TITLE - 2))
    return np.asarray(panel)


def _mark(draw: ImageDraw.ImageDraw, lines: list[str], text: str, place: tuple[int, int], top: int) -> None:
    """A box behind the characters ``place`` of ``text``, wherever wrapping put them."""
    # Wrapping changes white space alone, so that the other characters keep their numbers.
    first, last = (len("".join(text[:end].split())) for end in place)
    for row, line in enumerate(lines):
        inside = [i for i, character in enumerate(line) if not character.isspace()]
        marked = inside[max(first, 0) : max(last, 0)]
        first, last = first - len(inside), last - len(inside)
        if marked:
            ends = (line[: marked[0]], line[: marked[-1] + 1])
            left, right = (MARGIN + 90 + draw.textlength(part, font=font(_TEXT)) for part in ends)
            box = (left - 3, top + row * _LINE - 1, right + 3, top + row * _LINE + _TEXT + 4)
            draw.rounded_rectangle(box, radius=4, fill=TRIED_PAPER, outline=TRIED)


def _wrap(text: str, width: int) -> list[str]:
    columns = int((width - 2 * MARGIN - 90) / (_TEXT * 0.52))
    return textwrap.wrap(text, columns, max_lines=4, placeholder=" ...") or ["(empty)"]

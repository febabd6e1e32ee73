"""What a model was asked and what it said: as pictures, masks and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from sa2va_native.evaluation.comparison_sheet import LINE, SIZE, wrapped
from sa2va_native.evaluation.drawing import ASKED, FAINT, INK, PAPER, PREDICTED, REGION, font, outline, tint
from sa2va_native.evaluation.predictions import encoded_mask
from sa2va_native.inference.clips import write_video

MARGIN = 12  #: pixels
#: Longer side of an overlay's picture in pixels; letters would be too large or too small for others.
SMALLEST, LARGEST = 512, 1280


@dataclass
class Answer:
    """One question about a picture or a clip, and its answer."""

    asked: dict[str, Any]  #: ``expression``, ``mask``, ``box`` or ``points``, as it was given; ready for JSON
    region: np.ndarray | None = None  #: bool (H, W): what was to be described
    caption: str | None = None  #: of the region
    mask: np.ndarray | None = None  #: bool (H, W), of a clip (F, H, W): where the expression or the caption leads
    iou: float | None = None  #: of mask and region, in 0..1; None unless the caption was led back
    looked: bool = True  #: whether a mask was looked for
    note: str = ""  #: why something is missing

    @property
    def title(self) -> str:
        """The expression or the caption."""
        return self.asked.get("expression") or self.caption or f"(no caption{': ' * bool(self.note)}{self.note})"

    def legend(self) -> str:
        """What an overlay shows."""
        parts = [f"blue: the {kind}" for kind in ("box", "points") if kind in self.asked]
        if self.region is not None and self.region.any():
            parts.append("yellow line: the region")
        if self.mask is not None and not self.mask.any():
            parts.append("the mask found is empty")
        elif self.mask is not None:
            parts.append("filled: the mask found" if self.region is None else "filled: where the caption leads")
        elif self.looked:
            parts.append("no mask was given")
        return "; ".join(parts) + ("" if self.iou is None else f" (IoU {self.iou:.2f})")

    def summary(self) -> str:
        """In one line."""
        return "; ".join(filter(None, (self._question(), self._found())))

    def _question(self) -> str:
        """What was asked; of a region also what it was called."""
        if "expression" in self.asked:
            return json.dumps(self.asked["expression"], ensure_ascii=False)
        ((kind, value),) = self.asked.items()
        return f"{kind} {value if kind == 'mask' else json.dumps(value)}: {self.title}"

    def _found(self) -> str:
        if self.mask is None:
            return "no mask" if self.looked else ""
        if not self.mask.any():
            return "an empty mask: no such object was found"
        share = f"mask of {self.mask.mean():.1%} of the {'picture' if self.mask.ndim == 2 else 'clip'}"
        return share if self.iou is None else f"{share}, IoU {self.iou:.2f}"

    def record(self) -> dict[str, Any]:
        """Ready for JSON; masks are COCO RLE, those of a clip a list of them."""
        record = {**self.asked, "caption": self.caption, "found": encoded_mask(self.mask), "iou": self.iou}
        if self.region is not None:
            record["region"] = encoded_mask(self.region)
        return record | ({"note": self.note} if self.note else {})


def draw_answer(picture: np.ndarray, answer: Answer, frame: int | None = None) -> Image.Image:
    """A picture with the region outlined and the mask that was found filled, and the text below.

    Args:
        picture: uint8 RGB (H, W, 3).
        answer: about it, or about a clip.
        frame: which one of the clip the picture is. The region is that of the first.
    """
    longer = max(picture.shape[:2])
    zoom = min(max(longer, SMALLEST), LARGEST) / longer
    size = max(1, round(picture.shape[1] * zoom)), max(1, round(picture.shape[0] * zoom))
    shown = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)
    mask = answer.mask if answer.mask is None or frame is None else answer.mask[frame]
    if mask is not None:
        large = _resized(mask, size)
        shown = outline(tint(shown, 0.4 * large, PREDICTED), large, PREDICTED, 5)
    if answer.region is not None and not frame:
        shown = outline(shown, _resized(answer.region, size), REGION, 5)
        _draw_asked(ImageDraw.Draw(shown), answer.asked, size[0] / picture.shape[1])
    width = max(size[0], SMALLEST // 2)
    lines = [(words, INK) for words in _lines(answer.title, width)] + [
        (words, FAINT) for words in _lines(answer.legend(), width)
    ]
    sheet = Image.new("RGB", (width + 2 * MARGIN, size[1] + 3 * MARGIN + LINE * len(lines)), PAPER)
    sheet.paste(shown, (MARGIN, MARGIN))
    draw = ImageDraw.Draw(sheet)
    for number, (text, colour) in enumerate(lines):
        draw.text((MARGIN, size[1] + 2 * MARGIN + number * LINE), text, fill=colour, font=font(SIZE))
    return sheet


def _draw_asked(draw: ImageDraw.ImageDraw, asked: dict[str, Any], zoom: float) -> None:
    """The box or the points that were given; a point beside the object is hollow."""
    if "box" in asked:
        draw.rectangle([zoom * side for side in asked["box"]], outline=ASKED, width=2)
    for x, y, is_on in asked.get("points", ()):
        place = [zoom * (x + 0.5) - 5, zoom * (y + 0.5) - 5, zoom * (x + 0.5) + 5, zoom * (y + 0.5) + 5]
        draw.ellipse(place, fill=ASKED if is_on else None, outline=ASKED, width=2)


def write_picture(picture: np.ndarray, answer: Answer, folder: Path, name: str) -> dict[str, str]:
    """Writes ``NAME.png``, the mask found, ``NAME_region.png`` and ``NAME_overlay.png``.

    Returns:
        the file of each that there is.
    """
    overlay = folder / f"{name}_overlay.png"
    draw_answer(picture, answer).save(overlay)
    return {**_write_mask("found", answer.mask, folder / f"{name}.png"), **_region(answer, folder, name)} | {
        "overlay": str(overlay)
    }


def write_clip(
    frames: list[np.ndarray], answer: Answer, folder: Path, name: str, rate: Fraction, video: bool
) -> dict[str, str]:
    """As :func:`write_picture`: the masks in a folder ``NAME``, the overlays as ``NAME_overlay.mp4``.

    Args:
        frames: uint8 RGB (H, W, 3) each.
        video: whether the overlays become a video; otherwise they are pictures in a folder ``NAME_overlay``.
    """
    drawn = [draw_answer(picture, answer, number) for number, picture in enumerate(frames)]
    overlay = folder / (f"{name}_overlay.mp4" if video else f"{name}_overlay")
    if video:
        write_video(drawn, overlay, rate)
    else:
        _write_frames(drawn, overlay)
    files = {**_region(answer, folder, name), "overlay": str(overlay)}
    if answer.mask is not None:
        _write_frames([Image.fromarray(mask) for mask in answer.mask], folder / name)
        files["found"] = str(folder / name)
    return files


def _region(answer: Answer, folder: Path, name: str) -> dict[str, str]:
    return _write_mask("region", answer.region, folder / f"{name}_region.png")


def _write_mask(what: str, mask: np.ndarray | None, file: Path) -> dict[str, str]:
    """A mask as a black and white picture."""
    if mask is None:
        return {}
    Image.fromarray(mask).save(file)
    return {what: str(file)}


def _write_frames(pictures: Sequence[Image.Image], folder: Path) -> None:
    """Numbered pictures, in place of those of an earlier answer, which may have been more."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("[0-9][0-9][0-9][0-9][0-9].png"):
        old.unlink()
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number:05d}.png")


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """bool (H, W) -> bool of (width, height) ``size``, with smooth borders."""
    resized = Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(resized) > 0.5


def _lines(text: str, width: int) -> list[str]:
    return [" ".join(words) for words in wrapped(text.split(), width)]

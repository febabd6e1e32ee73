"""Pictures and a clip to try, drawn by the generator of the scenes."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sa2va_native.datasets.scenes.scene import Scene, make_scene

SIDE = 448  #: pixels
#: Frames of the clip: as many as the language model is shown, as the tiny SAM 2 has not learnt to remember.
FRAMES = 5
#: Scenes that no training set holds, of three colours each. The shipped tiny model finds some of their objects again
#: by its own words, and names others so that they are not found.
SPLIT, PICTURES, CLIP = "test", (38, 7, 10, 19), 43


class Example(NamedTuple):
    """Something to try."""

    name: str
    frames: list[np.ndarray]  #: one picture, or the frames of a clip, uint8 (SIDE, SIDE, 3)
    objects: np.ndarray  #: bool (objects, SIDE, SIDE): where each is in the first frame
    expression: str  #: true of one object


def examples() -> list[Example]:
    """The pictures, then the clip."""
    scenes = {f"Scene {number}": make_scene(0, SPLIT, index, side=SIDE) for number, index in enumerate(PICTURES, 1)}
    clip = make_scene(0, SPLIT, CLIP, side=SIDE)
    stills = [_example(name, scene, [scene.render().image]) for name, scene in scenes.items()]
    return [*stills, _example("Clip", clip, moving(clip, FRAMES))]


def _example(name: str, scene: Scene, frames: list[np.ndarray]) -> Example:
    return Example(name, frames, scene.render().masks, scene.expressions[0][0])


def moving(scene: Scene, count: int) -> list[np.ndarray]:
    """Frames on the way from a scene's first frame to its second, uint8 (side, side, 3) each."""
    return [_between(scene, number / (count - 1)).render(2).image for number in range(count)]


def _between(scene: Scene, share: float) -> Scene:
    """The scene whose second frame lies this share of the way between both."""
    moved = tuple(
        replace(
            end,
            x=start.x + share * (end.x - start.x),
            y=start.y + share * (end.y - start.y),
            angle=start.angle + share * (end.angle - start.angle),
            area=start.area + share * (end.area - start.area),
        )
        for start, end in zip(scene.objects, scene.moved, strict=True)
    )
    dx, dy = scene.pan
    return replace(scene, moved=moved, pan=(round(share * dx), round(share * dy)))

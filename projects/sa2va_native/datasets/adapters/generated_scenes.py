"""Generated scenes in memory: the data set for pretraining the towers."""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
from mmengine.registry import DATASETS

from sa2va_native.datasets.scenes.scene import Frame, Scene, make_scene
from sa2va_native.errors import ConfigError
from sa2va_native.structures import Sample


@DATASETS.register_module()
class GeneratedScenes:
    """Item ``i`` is one object of scene ``i``, drawn on demand; object and expression depend only on ``i``.

    Args:
        seed: seed of the scenes.
        split: one of ``scenes.SPLITS``; ``pretrain`` shares no scene with the sets that are written to disk.
        length: number of scenes.
        text: ``expression`` (one of the target's referring expressions), ``caption`` (its full, true
            caption), or None.
        two_frames: return the second frame as ``image2`` and ``mask2``.
        side, min_objects, max_objects: see ``make_scene``.
    """

    def __init__(
        self,
        seed: int = 0,
        split: str = "pretrain",
        length: int = 100_000,
        text: Literal["expression", "caption"] | None = "expression",
        two_frames: bool = False,
        side: int = 128,
        min_objects: int = 3,
        max_objects: int = 3,
    ) -> None:
        if text not in ("expression", "caption", None):
            raise ConfigError(f"text '{text}' is unknown. Known: 'expression', 'caption', None.")
        self.seed, self.split, self.length, self.text, self.two_frames = seed, split, length, text, two_frames
        self._make = functools.partial(make_scene, side=side, min_objects=min_objects, max_objects=max_objects)

    def __len__(self) -> int:
        return self.length

    def scene(self, index: int) -> Scene:
        """The plan of scene ``index``, with all its objects and expressions."""
        return self._make(self.seed, self.split, index)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(f"scene {index} of {self.length}")
        scene = self.scene(index)
        rng = np.random.default_rng((*scene.key, 2))
        target = int(rng.choice(scene.targets))
        item = scene.objects[target]
        expression = str(rng.choice(scene.expressions[target]))
        first = scene.render()
        second: Frame | None = scene.render(2) if self.two_frames else None
        return Sample(
            sample_id=f"scenes {self.seed} {self.split}#scene {index} object {target}",
            image=first.image,
            mask=first.masks[target],
            text={"expression": expression, "caption": item.caption, None: None}[self.text],
            image2=second.image if second else None,
            mask2=second.masks[target] if second else None,
            attributes=item.attributes,
        )

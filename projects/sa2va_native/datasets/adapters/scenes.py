"""The generated scenes, read through the adapters for real data; written to disk on first use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS

from sa2va_native.datasets.adapters.coco import CocoInstances
from sa2va_native.datasets.adapters.refer import ReferExpressions
from sa2va_native.datasets.scenes.scene_set import refs_split, scene_colours, split_folder
from sa2va_native.structures import Sample


@DATASETS.register_module()
class SceneMasks(CocoInstances):
    """Masks of one split, with two frames where the split has them.

    Where the attributes are known, ``scene_colours`` among them lists the colours of all objects of the picture.

    Args:
        split: ``labelled``, ``mask_only``, ``test``, ``test_heldout``, ``val``, ``val_heldout`` or ``pretrain``.
        root: folder of the whole set (default: see :func:`write_scene_set`); for others, see :func:`split_folder`.
        settings: further keywords of :func:`write_scene_set`.
        text_key, min_area: see :class:`CocoInstances`.
    """

    def __init__(
        self,
        split: str,
        root: str | Path | None = None,
        settings: dict[str, Any] | None = None,
        text_key: str | None = None,
        min_area: float = 0.0,
    ) -> None:
        self.split, self.settings = split, settings or {}
        folder = split_folder(split, root, **self.settings)
        super().__init__(folder / "instances.json", folder / "images", min_area=min_area, text_key=text_key)

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        if sample.attributes:
            colours = scene_colours(self.split, self.items[index]["image_id"], self.settings)
            sample.attributes = {**sample.attributes, "scene_colours": colours}
        return sample


@DATASETS.register_module()
class SceneExpressions(ReferExpressions):
    """Referring expressions of one split; every sentence is an item.

    Args:
        split: ``labelled``, ``test``, ``test_heldout``, ``val``, ``val_heldout`` or ``pretrain``.
        root: folder of the whole set, as in :class:`SceneMasks`.
        settings: further keywords of :func:`write_scene_set`.
    """

    def __init__(self, split: str, root: str | Path | None = None, settings: dict[str, Any] | None = None) -> None:
        folder = split_folder(split, root, **(settings or {}))
        super().__init__(folder, refs_split(split))

"""Write the generated scenes to disk once, in COCO and REFER layout, for the adapters that read real data.

    {root}/{split}/images/000012.png         first frames; 000012b.png is the second frame
    {root}/{split}/instances.json            COCO; masks as RLE
    {root}/{split}/refs(unc).p               REFER; not for mask_only

``python -m sa2va_native.datasets.scenes.scene_set ROOT`` writes one by hand.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sa2va_native.datasets.marked_folder import write_once
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.datasets.scenes.language import COLOURS, SHAPES
from sa2va_native.datasets.scenes.scene import SPLITS, Frame, Scene, make_scene
from sa2va_native.errors import ConfigError, did_you_mean
from sa2va_native.files.paths import cache_folder

DEFAULT_SIZES = {"labelled": 500, "mask_only": 1500, "test": 100, "test_heldout": 100}
VALIDATION_SIZES = {"val": 100, "val_heldout": 100}
#: Sets beside the usual one, by the ending of their folder.
_FURTHER_SETS = {"val": VALIDATION_SIZES, "pretrain": {"pretrain": 1500}}

#: Increase it when the drawing changes, so that old sets are not mistaken for new ones.
_FORMAT = 1


def write_scene_set(
    root: str | Path | None = None,
    seed: int = 0,
    sizes: Mapping[str, int] = DEFAULT_SIZES,
    *,
    side: int = 128,
    min_objects: int = 3,
    max_objects: int = 3,
    caption_colour_noise: float = 0.0,
) -> Path:
    """Write all splits, unless they already exist.

    The splits contain:

    * ``labelled``: masks, referring expressions (``refs(unc).p``, split ``train``) and region captions; no
      held-out (colour, shape) pair.
    * ``mask_only``: two frames and masks; neither text nor attributes. All pairs.
    * ``test``: as labelled (refs split ``test``), with true captions.
    * ``test_heldout``: only objects of held-out pairs are annotated; their distractors may be anything.
    * ``val``, ``val_heldout``: as the two test splits, other scenes (refs split ``val``); see :func:`split_folder`.
    * ``pretrain``: as labelled (refs split ``pretrain``), but of all pairs: for an oracle, never for a method.

    Args:
        root: folder to write to (default: ``scenes`` in the cache folder, see :func:`cache_folder`).
        seed: of the scenes.
        sizes: scenes per split.
        side, min_objects, max_objects: see ``make_scene``.
        caption_colour_noise: probability, 0..1, that the colour word of a *labelled caption* is replaced with a
            uniformly drawn one. The referring expressions stay true. This imitates a model with many referring
            labels and poor captions, such as a real RefCOCO model; with 0 all captions are true. Metrics always
            compare with the true attributes.

    Returns:
        the folder.

    Raises:
        ConfigError: an unknown split or a noise outside 0..1.
        DataError: see ``write_once``.
    """
    for split in sizes:
        if split not in SPLITS:
            raise ConfigError(f"scene split '{split}' is unknown. {did_you_mean(split, SPLITS)}")
    if not 0 <= caption_colour_noise <= 1:
        raise ConfigError(f"caption_colour_noise must be within 0..1, got {caption_colour_noise}")
    shape = {"side": side, "min_objects": min_objects, "max_objects": max_objects}
    settings = {
        "format": _FORMAT,
        "seed": seed,
        "sizes": dict(sizes),
        **shape,
        "caption_colour_noise": caption_colour_noise,
    }

    def write(folder: Path) -> None:
        for split, size in sizes.items():
            writer = _SplitWriter(folder / split, split, caption_colour_noise)
            for index in range(size):
                writer.add(index, make_scene(seed, split, index, **shape))
            writer.close()

    return write_once(root or cache_folder() / "scenes", settings, write)


def split_folder(split: str, root: str | Path | None = None, **settings: Any) -> Path:
    """The folder of one split; its set is written unless it exists.

    The validation splits are a set of their own, ``{root}_val``, and so is ``pretrain``: sets written without them stay
    valid, and runs that do not read them do not wait for them. A set whose ``sizes`` name them holds them itself.

    Args:
        split: one of ``SPLITS``.
        root, settings: see :func:`write_scene_set`.

    Raises:
        ConfigError, DataError: see :func:`write_scene_set`.
    """
    root = Path(root or cache_folder() / "scenes")
    for ending, sizes in _FURTHER_SETS.items():
        if split in sizes and split not in settings.get("sizes", ()):
            return write_scene_set(root.with_name(f"{root.name}_{ending}"), **{**settings, "sizes": sizes}) / split
    return write_scene_set(root, **settings) / split


@dataclasses.dataclass
class _SplitWriter:
    folder: Path
    split: str
    caption_colour_noise: float
    images: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    annotations: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    refs: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    sentences: int = 0

    def __post_init__(self) -> None:
        (self.folder / "images").mkdir(parents=True)

    def add(self, index: int, scene: Scene) -> None:
        first = self._add_image(scene.render(), image_id=2 * index + 1, file_name=f"{index:06d}.png")
        labelled = self.split != "mask_only"
        frames = [first]
        if not labelled:
            second = scene.render(2)
            self._add_image(second, image_id=2 * index + 2, file_name=f"{index:06d}b.png")
            self.images[-2]["next_image_id"] = 2 * index + 2
            frames.append(second)
        rng = np.random.default_rng((*scene.key, 3))
        for target in scene.targets:
            for offset, frame in enumerate(frames):
                annotation = self._annotation(frame.masks[target], 2 * index + 1 + offset, scene, target)
                if labelled:
                    annotation["attributes"] = scene.objects[target].attributes
                    annotation["caption"] = self._caption(scene, target, rng)
                self.annotations.append(annotation)
            if labelled:
                self._add_ref(self.annotations[-1], scene.expressions[target])

    def close(self) -> None:
        categories = [{"id": i, "name": name} for i, name in enumerate(SHAPES, start=1)]
        content = {"images": self.images, "annotations": self.annotations, "categories": categories}
        (self.folder / "instances.json").write_text(json.dumps(content), encoding="utf-8")
        if self.refs:
            (self.folder / "refs(unc).p").write_bytes(pickle.dumps(self.refs, protocol=2))

    def _add_image(self, frame: Frame, image_id: int, file_name: str) -> Frame:
        height, width = frame.image.shape[:2]
        Image.fromarray(frame.image).save(self.folder / "images" / file_name, compress_level=1)
        self.images.append({"id": image_id, "file_name": file_name, "height": height, "width": width})
        return frame

    def _annotation(self, mask: np.ndarray, image_id: int, scene: Scene, target: int) -> dict[str, Any]:
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        left, top = int(columns[0]), int(rows[0])
        return {
            "id": len(self.annotations) + 1,
            "image_id": image_id,
            "track_id": target + 1,
            "category_id": SHAPES.index(scene.objects[target].shape) + 1,
            "segmentation": encode_mask(mask),
            "area": int(mask.sum()),
            "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
            "iscrowd": 0,
        }

    def _caption(self, scene: Scene, target: int, rng: np.random.Generator) -> str:
        item, colour = scene.objects[target], str(rng.choice(COLOURS))
        if rng.random() < self.caption_colour_noise and self.split == "labelled":
            item = dataclasses.replace(item, colour=colour)
        return item.caption

    def _add_ref(self, annotation: dict[str, Any], expressions: tuple[str, ...]) -> None:
        sentences = [
            {"sent_id": self.sentences + i, "sent": text, "raw": text, "tokens": text.split()}
            for i, text in enumerate(expressions)
        ]
        self.sentences += len(sentences)
        self.refs.append(
            {
                "ref_id": len(self.refs) + 1,
                "ann_id": annotation["id"],
                "image_id": annotation["image_id"],
                "category_id": annotation["category_id"],
                "split": refs_split(self.split),
                "sent_ids": [sentence["sent_id"] for sentence in sentences],
                "sentences": sentences,
            }
        )


def refs_split(split: str) -> str:
    """REFER's name of a split: ``train``, ``val`` or ``test``."""
    return "train" if split == "labelled" else split.removesuffix("_heldout")


def scene_colours(split: str, image_id: int, settings: Mapping[str, Any]) -> list[str]:
    """Colours of all objects of a written picture, also of those that the split does not annotate.

    Args:
        split: of the set.
        image_id: as in ``instances.json``.
        settings: keywords of :func:`write_scene_set` that the set was written with.
    """
    drawing = {name: settings[name] for name in ("side", "min_objects", "max_objects") if name in settings}
    return list(_colours(settings.get("seed", 0), split, (image_id - 1) // 2, **drawing))


@functools.cache
def _colours(seed: int, split: str, index: int, **drawing: int) -> tuple[str, ...]:
    return tuple(sorted({item.colour for item in make_scene(seed, split, index, **drawing).objects}))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a generated scene set in COCO and REFER layout.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=128, help="height and width in px")
    parser.add_argument("--caption-colour-noise", type=float, default=0.0, help="0..1, in labelled captions only")
    arguments = parser.parse_args()
    print(write_scene_set(**vars(arguments)))


if __name__ == "__main__":
    main()

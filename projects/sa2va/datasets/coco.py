"""COCO instances: any json of masks feeds the cycle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS

from projects.sa2va.datasets.coco_file import CocoFile
from projects.sa2va.errors import DataError
from projects.sa2va.structures import Sample


@DATASETS.register_module()
class CocoInstances:
    """Each annotation with a mask is one item (format: https://cocodataset.org/#format-data).

    Two frames: an image may name the next frame of its clip as ``next_image_id``, and the annotations of one
    object share a ``track_id``. Then the annotation of the next frame is the item's second side, and
    annotations of frames that are some image's next frame are no items of their own. An object that the next
    frame does not show is a still picture. (An extension of this project; plain COCO files have neither key.)

    Args:
        ann_file: the json.
        image_root: folder of the pictures.
        min_area: smallest ``area`` of an annotation, px of the original picture; annotations without the key
            are kept.
        include_crowd: whether to keep ``iscrowd`` annotations; off by default, as a crowd is no single
            object.
        text_key: key of an annotation that holds its human text, e.g. ``"caption"`` in the generated scenes;
            None for masks without text. With a key, annotations that lack it are no items.

    Raises:
        DataError: see ``CocoFile``; or the choices above leave nothing.
    """

    def __init__(
        self,
        ann_file: str | Path,
        image_root: str | Path,
        min_area: float = 0.0,
        include_crowd: bool = False,
        text_key: str | None = None,
    ) -> None:
        self.file = CocoFile(ann_file, image_root)
        self.text_key = text_key
        next_frames = {image["next_image_id"] for image in self.file.images.values() if "next_image_id" in image}
        self._tracks = {
            (annotation["image_id"], annotation["track_id"]): annotation
            for annotation in self.file.annotations.values()
            if annotation["image_id"] in next_frames and "track_id" in annotation
        }
        self.items = [
            annotation
            for annotation in self.file.annotations.values()
            if annotation["image_id"] not in next_frames
            and annotation.get("area", min_area) >= min_area
            and (include_crowd or not annotation.get("iscrowd"))
            and (text_key is None or annotation.get(text_key))
        ]
        if not self.items:
            raise DataError(
                f"{self.file.path}: none of {len(self.file.annotations)} annotations is left with "
                f"min_area={min_area}, include_crowd={include_crowd}, text_key={text_key!r}. "
                "Relax these settings."
            )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        annotation = self.items[index]
        image = self.file.picture(annotation)
        second = self._next_frame(annotation)
        image2 = self.file.picture(second) if second else None
        return Sample(
            sample_id=f"{self.file.path.name}#{self.file.record(annotation)}",
            image=image,
            mask=self.file.mask(annotation, image),
            text=annotation[self.text_key] if self.text_key else None,
            image2=image2,
            mask2=self.file.mask(second, image2) if second is not None and image2 is not None else None,
            attributes=annotation.get("attributes", {}),
        )

    def _next_frame(self, annotation: dict[str, Any]) -> dict[str, Any] | None:
        next_image = self.file.images.get(annotation["image_id"], {}).get("next_image_id")
        return self._tracks.get((next_image, annotation.get("track_id")))

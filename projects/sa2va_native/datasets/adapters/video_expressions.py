"""Expressions for objects in clips, with a mask for each frame: MeViS, ReVOS, Ref-DAVIS17."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.registry import DATASETS

from sa2va_native.datasets.reading.clip_frames import read_clip, read_clip_labels
from sa2va_native.datasets.reading.files import (
    MAX_IMAGE_PIXELS,
    read_json,
    require_folder,
    usable_text,
)
from sa2va_native.datasets.reading.mask_codec import MaskError, decode_mask, has_mask, mask_area
from sa2va_native.datasets.reading.numbers import as_whole
from sa2va_native.datasets.reading.packed_records import PackedRecords
from sa2va_native.errors import BadSample, DataError
from sa2va_native.structures import Sample

_REMEDY = "Expected meta_expressions.json: videos -> name -> frames and expressions."


class _Expression(NamedTuple):
    """An expression for a clip."""

    video: str
    number: str
    frames: list[str]
    entry: dict[str, Any]


@DATASETS.register_module()
class VideoExpressions:
    """Each expression of each video is one item, as MeViS and ReVOS have them; for sources of kind ``clip``.

    A sample's ``image`` is uint8 (F, H, W, 3) and its ``mask`` bool (F, H, W): the union of the masks that the
    expression's ``anno_id`` names, empty where none is to be seen.

    These are bad samples: an expression that is no object, without usable text, without the ``type_id`` that is asked
    for, or with ids that are not among the masks; a missing or broken frame, or one of another size; a mask that cannot
    be decoded or of another size.

    Args:
        expressions: the json, ``{"videos": {NAME: {"frames": [...], "expressions": {N: {"exp", "anno_id"}}}}}``.
        image_root: folder with ``NAME/FRAME.jpg``.
        masks: the json, ``{anno_id: [RLE or null for each frame]}``.
        type_id: only expressions whose ``type_id`` is this; ReVOS has 0 (referring), 1 (reasoning) and 2 (without a
            target). None: all of them.
        max_pixels: largest picture that is decoded.

    Raises:
        DataError: a file or folder that is missing, or no expressions.
    """

    def __init__(
        self,
        expressions: str | Path,
        image_root: str | Path,
        masks: str | Path,
        type_id: int | None = None,
        max_pixels: int = MAX_IMAGE_PIXELS,
    ) -> None:
        self._open(Path(expressions), Path(image_root), max_pixels, type_id)
        self.mask_file = Path(masks)
        content = read_json(self.mask_file, "Expected mask_dict.json: anno_id -> one RLE or null for each frame.")
        self._place = {number: place for place, number in enumerate(content)}
        self._masks = PackedRecords(content.values())

    def _open(self, expressions: Path, image_root: Path, max_pixels: int, type_id: int | None = None) -> None:
        self.path, self.max_pixels, self.type_id = expressions, max_pixels, type_id
        videos = read_json(self.path, _REMEDY).get("videos")
        self.image_root = require_folder(image_root, f"Give the folder with the frames of {self.path}.")
        items = [
            (name, number, video.get("frames"), entry)
            for name, video in (videos.items() if isinstance(videos, dict) else ())
            if isinstance(video, dict) and isinstance(video.get("expressions"), dict)
            for number, entry in video["expressions"].items()
            if type_id is None or _type_of(entry) in (type_id, None)
        ]
        if not items:
            of_type = "" if type_id is None else f" of type_id {type_id}"
            raise DataError(f"{self.path}: no expressions{of_type}. {_REMEDY}")
        self._items = PackedRecords(items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Sample:
        video, number, frames, entry = self._items[index]
        record = f"video {video} expression {number}"
        if not isinstance(entry, dict):
            raise BadSample(str(self.path), record, f"a {type(entry).__name__}, expected an object")
        if self.type_id is not None and _type_of(entry) is None:
            raise BadSample(str(self.path), record, f"type_id {entry.get('type_id')!r:.80}, expected a whole number")
        if not isinstance(frames, list) or not frames or not all(isinstance(frame, str) for frame in frames):
            raise BadSample(str(self.path), record, "no list of frames")
        text = usable_text(entry.get("exp"), self.path, record)
        files = [f"{video}/{frame}.jpg" for frame in frames]
        pictures = read_clip(self.image_root, files, self.path, record, self.max_pixels)
        expression = _Expression(video, number, frames, entry)
        mask = self._mask(expression, pictures.shape[1:3], record)
        return Sample(f"{self.path.name}#{record}", pictures, mask, text)

    def _mask(self, expression: _Expression, size: tuple[int, ...], record: str) -> np.ndarray:
        """bool (F, H, W)."""
        mask = np.zeros((len(expression.frames), *size), bool)
        ids = expression.entry.get("anno_id")
        if not isinstance(ids, list):
            raise BadSample(str(self.path), record, f"anno_id {ids!r:.80}, expected a list")
        for number in ids:
            place = self._place.get(str(number))
            if place is None:
                raise BadSample(str(self.path), record, f"anno_id {number!r:.80} is not in {self.mask_file}")
            masklet = self._masks[place]
            if not isinstance(masklet, list) or len(masklet) != len(mask):
                raise BadSample(
                    str(self.mask_file), str(number), f"not one mask or null for each of {len(mask)} frames"
                )
            for frame, segmentation in enumerate(masklet):
                try:
                    if has_mask(segmentation) and mask_area(segmentation, *size):
                        mask[frame] |= decode_mask(segmentation, *size)
                except MaskError as error:
                    raise BadSample(str(self.mask_file), f"{number} frame {frame}", str(error)) from error
        return mask


def _type_of(entry: Any) -> int | None:
    """``type_id`` of an expression; None if it has none, which is a bad sample wherever it is asked for."""
    return as_whole(entry.get("type_id")) if isinstance(entry, dict) else None


@DATASETS.register_module()
class DavisExpressions(VideoExpressions):
    """Ref-DAVIS17, whose masks are DAVIS-17's label pictures: each expression of each video is one item.

    A sample is as that of :class:`VideoExpressions`; ``obj_id`` of an expression is the value of its object.

    Args:
        expressions, image_root, max_pixels: see :class:`VideoExpressions`.
        mask_root: folder with ``NAME/FRAME.png``.

    Raises:
        DataError: see :class:`VideoExpressions`.
    """

    def __init__(
        self,
        expressions: str | Path,
        image_root: str | Path,
        mask_root: str | Path,
        max_pixels: int = MAX_IMAGE_PIXELS,
    ) -> None:
        self._open(Path(expressions), Path(image_root), max_pixels)
        self.mask_root = require_folder(Path(mask_root), f"Give the folder with the masks of {self.path}.")

    def _mask(self, expression: _Expression, size: tuple[int, ...], record: str) -> np.ndarray:
        value = as_whole(expression.entry.get("obj_id"))
        if value is None or value < 1:
            raise BadSample(
                str(self.path), record, f"obj_id {expression.entry.get('obj_id')!r:.80}, expected 1 or more"
            )
        files = [f"{expression.video}/{frame}.png" for frame in expression.frames]
        mask = read_clip_labels(self.mask_root, files, size, self.path, record, self.max_pixels) == value
        if not mask.any():
            raise BadSample(str(self.path), record, f"obj_id {value} is not in its masks: empty mask")
        return mask

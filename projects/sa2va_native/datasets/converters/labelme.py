"""LabelMe -> own data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sa2va_native.datasets.converters.convert import Converted
from sa2va_native.datasets.converters.labelme_pictures import picture_of, stated_size
from sa2va_native.datasets.converters.labelme_shapes import BOXES, shape_mask
from sa2va_native.datasets.reading.files import inside, read_json, usable_text
from sa2va_native.datasets.reading.mask_codec import MaskError, encode_mask
from sa2va_native.errors import BadSample, DataError


@dataclass
class LabelmeConverter:
    """Each shape of each json below ``root`` is a record; shapes with the same label and ``group_id`` are one object.

    Format: https://github.com/wkentaro/labelme. Polygons and rectangles are filled like COCO's polygons; a circle
    contains the pixels whose centre is inside; a ``mask`` is placed at the upper left of its box. Rotated boxes
    (``oriented_rectangle``, and those of other tools that use this format) are filled as polygons. Boxes and circles
    are counted, as they are often drawn around an object. Lines and points have no area; they are left out and
    reported, as is an unknown kind. Masks have the size stated in the file, which LabelMe takes after applying the
    picture's EXIF orientation; without one, they have the size of the picture.

    A shape's ``description`` becomes the record's text. Pictures: see :func:`picture_of`.

    Raises:
        DataError: from ``sources``, if there is no json.
    """

    root: Path
    parallel = True

    def sources(self) -> Sequence[str]:
        """The json files, relative to the root."""
        names = sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*.json"))
        if not names:
            raise DataError(
                f"{self.root}: nothing to convert: no *.json in it or below. Give the folder with the pictures and "
                "the json files written by LabelMe."
            )
        return names

    def convert(self, source: str) -> Converted:
        file = self.root / source
        try:
            inside(self.root, source, file, "file")
            content = read_json(file, "Save it again in LabelMe.")
            picture = picture_of(content, file, self.root)
            height, width = stated_size(content, self.root / picture, file)
        except BadSample as bad:
            return Converted([], [bad])
        except DataError as error:
            return Converted([], [BadSample(str(file), "file", str(error))])
        objects: dict[tuple[Any, ...], tuple[dict[str, Any], np.ndarray]] = {}
        left_out, notes = [], []
        shapes = content.get("shapes")
        if not isinstance(shapes, list):
            left_out.append(BadSample(str(file), "file", "no list 'shapes'"))
            shapes = []
        for place, shape in enumerate(shapes):
            record = f"shapes[{place}]"
            try:
                mask = shape_mask(shape, height, width)
            except MaskError as error:
                left_out.append(BadSample(str(file), record, str(error)))
                continue
            if (kind := shape.get("shape_type")) in BOXES:
                notes.append(f"{kind} filled as a mask: is it the outline of its object, or a box around it?")
            group = shape.get("group_id")
            key = (record,) if group is None else (str(shape.get("label")), str(group))
            entry, known = objects.get(key, ({"id": f"{source} {record}", "category": shape.get("label")}, None))
            objects[key] = entry, mask if known is None else known | mask
            text = shape.get("description")
            if not text or text == entry.get("text"):
                continue
            try:
                if "text" in entry:
                    raise BadSample(str(file), record, f"description {text!r:.80} is not used: its object has another")
                entry["text"] = usable_text(text, file, record)
            except BadSample as bad:
                left_out.append(bad)
        records = [{"image": picture, "mask": encode_mask(mask), **entry} for entry, mask in objects.values()]
        return Converted(records, left_out, tuple(notes))

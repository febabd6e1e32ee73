"""COCO instances -> own data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sa2va_native.datasets.adapters.coco import CocoInstances
from sa2va_native.datasets.converters.convert import Converted
from sa2va_native.datasets.finding.find_sets import coco_sets
from sa2va_native.datasets.reading.coco_file import file_name
from sa2va_native.datasets.reading.files import inside, usable_text
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.errors import BadSample, DataError


@dataclass
class CocoConverter:
    """Each annotation with a mask becomes a record: ``caption`` is its text, the next frame its second side.

    A list of captions, as ``caption`` or ``captions``, becomes a record each. Texts that cannot be used and pieces of
    masks that are left out are reported.

    Args:
        root: folder of one COCO set, or its json. Afterwards, the folder of its pictures.
        include_crowd: whether ``iscrowd`` annotations become records as well.

    Raises:
        DataError: no COCO set, or several.
    """

    root: Path
    include_crowd: bool = False
    parallel = False  # the json would have to be sent to each process

    def __post_init__(self) -> None:
        found = coco_sets(self.root)
        if len(found) != 1:
            names = ", ".join(one.config["ann_file"] for one in found) or "none"
            raise DataError(f"{self.root}: expected one COCO set, found {names}. Give the json of one of them.")
        config = found[0].config
        self.dataset = CocoInstances(config["ann_file"], config["image_root"], include_crowd=self.include_crowd)
        pictures = self.dataset.file.image_root
        if self.root.is_file():
            self.root = self.root.parent.parent if self.root.parent.name == "annotations" else self.root.parent
        if not pictures.resolve().is_relative_to(self.root.resolve()):
            self.root = pictures  # pictures elsewhere, or behind a link: paths of own data must not leave its root

    def sources(self) -> Sequence[str]:
        """Indices of the annotations in the set."""
        return [str(index) for index in range(len(self.dataset))]

    def convert(self, source: str) -> Converted:
        index = int(source)
        try:
            sample = self.dataset[index]
        except BadSample as bad:
            return Converted([], [bad])
        annotation, file = self.dataset.items[index], self.dataset.file
        record: dict[str, Any] = {"image": self._picture(file.image(annotation)), "mask": encode_mask(sample.mask)}
        if sample.image2 is not None and sample.mask2 is not None:
            second = file.image_of(file.image(annotation)["next_image_id"])
            record |= {"image2": self._picture(second), "mask2": encode_mask(sample.mask2)}
        record["id"] = name = file.record(annotation)
        left_out = [BadSample(str(file.path), name, f"piece left out: {stray}") for stray in sample.strays]
        texts = []
        for given in (annotation.get("caption"), annotation.get("captions")):
            for text in given if isinstance(given, list) else [given] if given is not None else []:
                try:
                    texts.append(usable_text(text, file.path, name))
                except BadSample as bad:
                    left_out.append(bad)
        return Converted([{**record, "text": text} for text in texts] or [record], left_out)

    def _picture(self, image: dict[str, Any]) -> str:
        file = self.dataset.file
        found = inside(file.image_root, file_name(image), file.path, "")  # by its own name: it was just read
        return Path(os.path.relpath(found, self.root)).as_posix()

"""RefCOCO, RefCOCO+, RefCOCOg: human referring expressions for COCO masks, in the REFER layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS

from sa2va_native.datasets.reading.coco_file import CocoFile, of_id
from sa2va_native.datasets.reading.files import MAX_IMAGE_PIXELS, parse_json, require_folder, usable_text
from sa2va_native.datasets.reading.packed_records import PackedRecords
from sa2va_native.datasets.reading.plain_pickle import read_pickle
from sa2va_native.datasets.reading.unchanged import shared
from sa2va_native.errors import BadSample, DataError, printable
from sa2va_native.files.bounded_json import machine_memory, read_bounded
from sa2va_native.structures import Sample

#: Names of its refs file.
REFS = ("refs({}).p",)
_REMEDY = "Expected the REFER layout: instances.json and refs(unc).p (or umd, google) in one folder."


@DATASETS.register_module()
class ReferExpressions:
    """Every sentence of every ref is one item (layout: https://github.com/lichengunc/refer).

    A ref without sentences is one bad sample. If a ref has no ``split``, each of its sentences is a bad sample in every
    split.

    Args:
        root: folder with ``instances.json`` and ``refs(*.p)``.
        split: ``train``, ``val``, ``testA``, ``testB`` or ``test``, as named in the refs file.
        image_root: folder of the pictures (``coco2014/train2014`` for RefCOCO); ``{root}/images`` when None.
        split_by: which refs file, e.g. ``"unc"`` for ``refs(unc).p``; only needed if there are several.
        max_pixels: largest picture that is decoded.

    Raises:
        DataError: a missing or empty folder, no refs file or several, a refs file that is not plain data, a
            split without sentences; see also ``CocoFile``.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        image_root: str | Path | None = None,
        split_by: str | None = None,
        max_pixels: int = MAX_IMAGE_PIXELS,
    ) -> None:
        folder = require_folder(Path(root), _REMEDY)
        self.refs_file = find_refs(folder, REFS, split_by, _REMEDY)
        self.file = shared(CocoFile, folder / "instances.json", Path(image_root or folder / "images"), max_pixels)
        self._refs = shared(read_refs, self.refs_file)
        same_id = self.file.places()
        items: list[tuple[int, int, int, int]] = []
        for place, ref in enumerate(self._refs):
            if ref.get("split", split) == split:
                annotations = of_id(same_id, ref.get("ann_id")) or []
                for sentence in range(max(1, len(sentences_of(ref)))):
                    items.append((place, sentence, len(annotations), next(iter(annotations), 0)))
        #: Index of a ref, index of a sentence in it, number of annotations with its ann_id, index of the first of them.
        self._items = np.array(items, np.int64)
        if not items:
            splits = ", ".join(splits_of(self.refs_file))
            raise DataError(f"{self.refs_file}: no sentences in split '{split}'. It has: {splits}.")

    def __len__(self) -> int:
        return len(self._items)

    def check_all(self) -> list[str]:
        """Problems that no single sample shows."""
        return self.file.notes

    def area_share(self, index: int) -> float:
        """See ``MixtureDataset.area_share``."""
        _, _, count, annotation = self._items[index]
        return self.file.area_share(self.file.annotations[annotation]) if count == 1 else 0.0

    def picture_name(self, index: int) -> str | None:
        """See ``datasets.picture_share``."""
        _, _, count, first = self._items[index]
        return self.file.picture_name(self.file.annotations[first].get("image_id")) if count == 1 else None

    def __getitem__(self, index: int) -> Sample:
        place, number, count, first = self._items[index]
        ref = self._refs[place]
        sentence = next(iter(sentences_of(ref)[number:]), None)  # None for a ref without sentences
        sentence = sentence if isinstance(sentence, dict) else {}
        record = f"ref {ref.get('ref_id')} sentence {sentence.get('sent_id')}"
        for key in ("ref_id", "ann_id", "split"):
            if key not in ref:
                raise BadSample(str(self.refs_file), record, f"no '{key}'")
        text = usable_text(sentence.get("sent"), self.refs_file, record)
        if isinstance(ref["ann_id"], list):
            raise BadSample(
                str(self.refs_file),
                record,
                f"ann_id {ref['ann_id']!r:.80} is a list (several targets or none, as in gRefCOCO), expected a number",
            )
        if not count:
            raise BadSample(str(self.refs_file), record, f"ann_id {ref['ann_id']!r:.80} is not in {self.file.path}")
        if count > 1:
            raise BadSample(
                str(self.refs_file),
                record,
                f"ann_id {ref['ann_id']!r:.80} is given to {count} annotations of {self.file.path}",
            )
        annotation = self.file.annotations[first]
        attributes = annotation.get("attributes", {})
        if not isinstance(attributes, dict):
            raise BadSample(str(self.file.path), record, "attributes are not an object of names and values")
        image = self.file.picture(annotation)
        mask, strays = self.file.mask(annotation, image)
        return Sample(
            sample_id=f"{self.refs_file.name}#{record}",
            image=image,
            mask=mask,
            text=text,
            attributes=attributes,
            strays=strays,
        )


def splits_of(refs_file: Path) -> list[str]:
    """The splits named in a refs file, sorted.

    Raises:
        DataError: see ``ReferExpressions``.
    """
    splits = {str(ref["split"]) for ref in shared(read_refs, refs_file) if "split" in ref}
    return sorted(map(printable, splits))


def find_refs(folder: Path, named: Sequence[str], split_by: str | None, remedy: str) -> Path:
    """The refs file of a folder.

    Args:
        named: of such a file, with ``{}`` for ``split_by``; a later name goes before an earlier one of the same stem.
        split_by: None if there is only one.
        remedy: ends the error if there is none.

    Raises:
        DataError: there is none, or several of which one must be chosen.
    """
    found = list(refs_files(folder, named, split_by).values())
    if len(found) == 1:
        return found[0]
    if not found:
        patterns = " or ".join(name.format(split_by or "*") for name in named)
        raise DataError(f"{folder}: no {patterns}. {remedy}")
    raise DataError(
        f"{folder}: several refs files ({', '.join(path.name for path in found)}). Choose one with split_by."
    )


def refs_files(folder: Path, named: Sequence[str], split_by: str | None = None) -> dict[str, Path]:
    """The refs files of a folder by their stems, see :func:`find_refs`."""
    return {file.stem: file for name in named for file in sorted(folder.glob(name.format(split_by or "*")))}


def sentences_of(ref: dict[str, Any]) -> list[Any]:
    """The sentences of a ref; none if they are no list."""
    sentences = ref.get("sentences")
    return sentences if isinstance(sentences, list) else []


def read_refs(path: Path) -> PackedRecords:
    """The refs of a ``.p`` or ``.json``.

    Raises:
        DataError: it holds anything but a list of them, or no plain data.
    """
    refs = read_pickle(path) if path.suffix == ".p" else parse_json(_bytes(path), path, "Download it again.")
    if not isinstance(refs, list) or not refs or not all(isinstance(ref, dict) for ref in refs):
        raise DataError(f"{path}: holds no list of refs. {_REMEDY}")
    try:
        for ref in refs:
            json.dumps(ref, default=str)  # a number with thousands of digits, or deeply nested lists, cannot be shown
        return PackedRecords(refs)
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: a ref that is not plain data ({error}). Rewrite it with plain data.") from error


def _bytes(path: Path) -> bytes:
    try:
        return read_bounded(path, machine_memory())
    except OSError as error:
        raise DataError(f"{path}: unreadable ({error.strerror or error}). Download it again.") from error

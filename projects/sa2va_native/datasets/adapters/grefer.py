"""gRefCOCO: human expressions that mean one object, several, or none (GRES, arXiv 2306.00968)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS

from sa2va_native.datasets.adapters.refer import find_refs, read_refs, sentences_of, splits_of
from sa2va_native.datasets.reading.coco_file import CocoFile, of_id
from sa2va_native.datasets.reading.files import MAX_IMAGE_PIXELS, require_folder, usable_text
from sa2va_native.datasets.reading.packed_records import PackedRecords
from sa2va_native.datasets.reading.unchanged import shared
from sa2va_native.errors import BadSample, DataError
from sa2va_native.structures import Sample

#: Names of its refs file; as in the authors' code, a pickle goes before a json beside it.
GREFS = ("grefs({}).json", "grefs({}).p")
_REMEDY = "Expected gRefCOCO's layout: instances.json and grefs(unc).json in one folder."
#: ``ann_id`` of an expression without a target.
_NONE: tuple[list[int], list[int]] = ([], [-1])


@DATASETS.register_module()
class GeneralizedReferExpressions:
    """Every sentence of every ref is one item, as in ``ReferExpressions``; ``ann_id`` is a list.

    The mask is the union of the annotations that it names. ``[-1]`` (or an empty list) is an expression without a
    target: its mask is empty. A ``refer`` source trains and scores it: the right answer is no pixel.

    These refs are bad samples: an ``ann_id`` that is no list, or names an annotation that is not in
    ``instances.json``, is there twice, or is of another picture; ``no_target`` that contradicts ``ann_id``; and what
    ``ReferExpressions`` refuses.

    Args:
        root: folder with ``instances.json`` and ``grefs(*).json`` or ``grefs(*).p``.
        split: ``train``, ``val``, ``testA`` or ``testB``, as named in the refs file.
        image_root: folder of the pictures (``coco2014/train2014``); ``{root}/images`` when None.
        split_by: which refs file, e.g. ``"unc"`` for ``grefs(unc).json``; only needed if there are several.
        max_pixels: largest picture that is decoded.

    Raises:
        DataError: a missing or empty folder, no refs file or several, a split without sentences; see also
            ``CocoFile``.
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
        self.refs_file = find_refs(folder, GREFS, split_by, _REMEDY)
        self.file = shared(CocoFile, folder / "instances.json", Path(image_root or folder / "images"), max_pixels)
        self._refs = shared(read_refs, self.refs_file)
        same_id = self.file.places()
        items: list[tuple[int, int, int]] = []
        targets: list[list[list[int]]] = []
        for place, ref in enumerate(self._refs):
            if ref.get("split", split) == split:
                items += [(place, sentence, len(targets)) for sentence in range(max(1, len(sentences_of(ref))))]
                targets.append([of_id(same_id, number) or [] for number in _ids(ref)])
        if not items:
            splits = ", ".join(splits_of(self.refs_file))
            raise DataError(f"{self.refs_file}: no sentences in split '{split}'. It has: {splits}.")
        #: Index of a ref, of a sentence in it, and of its targets.
        self._items = np.array(items, np.int64)
        #: For each of a ref's ids the annotations that have it; exactly one unless the ref is faulty.
        self._targets = PackedRecords(targets)

    def __len__(self) -> int:
        return len(self._items)

    def check_all(self) -> list[str]:
        """Problems that no single sample shows."""
        return self.file.notes

    def picture_name(self, index: int) -> str | None:
        """See ``datasets.picture_share``."""
        return self.file.picture_name(self._refs[self._items[index][0]].get("image_id"))

    def __getitem__(self, index: int) -> Sample:
        place, number, of_ref = self._items[index]
        ref = self._refs[place]
        sentence = next(iter(sentences_of(ref)[number:]), None)  # None for a ref without sentences
        sentence = sentence if isinstance(sentence, dict) else {}
        record = f"ref {ref.get('ref_id')} sentence {sentence.get('sent_id')}"
        for key in ("ref_id", "ann_id", "image_id", "split"):
            if key not in ref:
                raise BadSample(str(self.refs_file), record, f"no '{key}'")
        text = usable_text(sentence.get("sent"), self.refs_file, record)
        annotations = self._annotations(ref, self._targets[of_ref], record)
        image = self.file.picture_of(ref["image_id"], record)
        mask = np.zeros(image.shape[:2], bool)
        strays: tuple[str, ...] = ()
        for annotation in annotations:
            target, more = self.file.mask(annotation, image)
            mask, strays = mask | target, strays + more
        return Sample(f"{self.refs_file.name}#{record}", image, mask, text, strays=strays)

    def _annotations(self, ref: dict[str, Any], targets: list[list[int]], record: str) -> list[dict[str, Any]]:
        """The annotations that an expression means; none without a target."""

        def refuse(reason: str) -> BadSample:
            return BadSample(str(self.refs_file), record, reason)

        if not isinstance(ref["ann_id"], list):
            raise refuse(f"ann_id {ref['ann_id']!r:.80} is no list; files with one number each are refs(*).p")
        none = ref["ann_id"] in _NONE
        if bool(ref.get("no_target", none)) != none:
            raise refuse(f"no_target is {ref['no_target']!r:.80} and ann_id {ref['ann_id']!r:.80}")
        found = []
        for number, places in zip(_ids(ref), targets, strict=True):
            if not places:
                raise refuse(f"ann_id {number!r:.80} is not in {self.file.path}")
            if len(places) > 1:
                raise refuse(f"ann_id {number!r:.80} is given to {len(places)} annotations of {self.file.path}")
            annotation = self.file.annotations[places[0]]
            if str(annotation.get("image_id")) != str(ref["image_id"]):
                raise refuse(
                    f"ann_id {number!r:.80} is an object of image {annotation.get('image_id')!r:.80}, not of "
                    f"image_id {ref['image_id']!r:.80}"
                )
            found.append(annotation)
        return found


def _ids(ref: dict[str, Any]) -> list[Any]:
    ids = ref.get("ann_id")
    return ids if isinstance(ids, list) and ids not in _NONE else []

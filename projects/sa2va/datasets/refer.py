"""RefCOCO, RefCOCO+, RefCOCOg: human referring expressions for COCO masks, in the REFER layout."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS

from projects.sa2va.datasets.coco_file import CocoFile
from projects.sa2va.datasets.files import require_folder
from projects.sa2va.errors import BadSample, DataError
from projects.sa2va.structures import Sample

_REMEDY = "Expected the REFER layout: instances.json and refs(unc).p (or umd, google) in one folder."


class PlainUnpickler(pickle.Unpickler):
    """Reads lists, dicts, text and numbers; refuses a pickle that names a class or function."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(
            f"it asks for '{module}.{name}', and only plain lists, dicts, text and numbers are read"
        )


@DATASETS.register_module()
class ReferExpressions:
    """Every sentence of every ref is one item (layout: https://github.com/lichengunc/refer).

    Args:
        root: folder with ``instances.json`` and ``refs(*.p)``.
        split: ``train``, ``val``, ``testA``, ``testB`` or ``test``, as the refs name it.
        image_root: folder of the pictures (``coco2014/train2014`` for RefCOCO); ``{root}/images`` when None.
        split_by: which refs file, e.g. ``"unc"`` for ``refs(unc).p``; needed only when there are several.

    Raises:
        DataError: a missing or empty folder, no refs file or several, a refs file that is not plain data, a
            split without sentences, or see ``CocoFile``.
    """

    def __init__(
        self, root: str | Path, split: str, image_root: str | Path | None = None, split_by: str | None = None
    ) -> None:
        folder = require_folder(Path(root), _REMEDY)
        self.refs_file = _find_refs(folder, split_by)
        self.file = CocoFile(folder / "instances.json", image_root or folder / "images")
        refs = _read_refs(self.refs_file)
        self.items = [(ref, sentence) for ref in refs if ref["split"] == split for sentence in ref["sentences"]]
        if not self.items:
            splits = ", ".join(sorted({str(ref["split"]) for ref in refs}))
            raise DataError(f"{self.refs_file}: no sentences in split '{split}'. It has: {splits}.")

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Sample:
        ref, sentence = self.items[index]
        record = f"ref {ref['ref_id']} sentence {sentence['sent_id']}"
        annotation = self.file.annotations.get(ref["ann_id"])
        if annotation is None:
            raise BadSample(str(self.refs_file), record, f"ann_id {ref['ann_id']} is not in {self.file.path}")
        if not sentence["sent"].strip():
            raise BadSample(str(self.refs_file), record, "empty sentence")
        image = self.file.picture(annotation)
        return Sample(
            sample_id=f"{self.refs_file.name}#{record}",
            image=image,
            mask=self.file.mask(annotation, image),
            text=sentence["sent"],
            attributes=annotation.get("attributes", {}),
        )


def _find_refs(folder: Path, split_by: str | None) -> Path:
    found = sorted(folder.glob("refs(*).p"))
    if split_by is not None:
        found = [path for path in found if path.name == f"refs({split_by}).p"]
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(f"{folder}: no {f'refs({split_by}).p' if split_by else 'refs(*).p'}. {_REMEDY}")
    raise DataError(
        f"{folder}: several refs files ({', '.join(path.name for path in found)}). Choose one with split_by."
    )


def _read_refs(path: Path) -> list[dict[str, Any]]:
    try:
        refs = PlainUnpickler(io.BytesIO(path.read_bytes())).load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: refused or broken pickle: {error}. Rewrite it with plain data.") from error
    if not isinstance(refs, list) or not refs or not all(isinstance(ref, dict) for ref in refs):
        raise DataError(f"{path}: holds no list of refs. {_REMEDY}")
    return refs

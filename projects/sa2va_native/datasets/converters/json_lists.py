"""Sets of which one json lists everything: Sa2VA's own fine-tuning data and PhraseCut -> own data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sa2va_native.datasets.converters.convert import Converted
from sa2va_native.datasets.converters.twin_folders import size_of
from sa2va_native.datasets.finding.json_layouts import PHRASE_CUT, SA2VA, json_layout
from sa2va_native.datasets.reading.files import inside, usable_text
from sa2va_native.datasets.reading.json_lines import JsonLines
from sa2va_native.datasets.reading.mask_codec import MaskError, decode_pieces, encode_mask
from sa2va_native.errors import BadSample, DataError


@dataclass
class JsonListConverter:
    """What the layouts have in common: one json with a list, pictures in ``images/`` beside it or in its folder.

    Texts that cannot be used, and masks or pieces of masks that are no masks, are reported.

    Args:
        root: the json, whose records are reported if they are of another layout; or the folder that contains one of the
            layout. Afterwards, the folder.

    Raises:
        DataError: no such json, or several.
    """

    root: Path
    layout: ClassVar[str]
    file: Path = field(init=False)
    parallel = False  # the list would have to be sent to each process

    def __post_init__(self) -> None:
        found = [self.root]
        if not self.root.is_file():
            found = [file for file in sorted(self.root.glob("*.json")) if json_layout(file) == self.layout]
        if len(found) != 1:
            names = ", ".join(file.name for file in found[:5]) or "none"
            raise DataError(f"{self.root}: expected one json of {self.layout}, found {names}. Give the path of one.")
        self.file, self.root = found[0], found[0].parent
        self._records = JsonLines(self.file, f"Expected a list as {self.layout} has it.")

    def sources(self) -> Sequence[str]:
        """Positions in the list."""
        return [str(index) for index in range(len(self._records))]

    def convert(self, source: str) -> Converted:
        name = f"record {int(source) + 1}"
        converted = Converted([], [])
        try:
            record = self._records[int(source)]
            picture = self._picture(record, name)
            size = size_of(self.root / picture, self.file, name, turned=False)
            objects = list(self.objects(record, name))
        except BadSample as bad:
            return Converted([], [bad])
        for number, (segmentation, text) in enumerate(objects, 1):
            place = f"{name} object {number}" if len(objects) > 1 else name
            try:
                mask, strays = decode_pieces(segmentation, *size)
                text = usable_text(text, self.file, place)
            except BadSample as bad:
                converted.bad.append(bad)
            except MaskError as error:
                converted.bad.append(BadSample(str(self.file), place, str(error)))
            else:
                converted.bad.extend(BadSample(str(self.file), place, f"piece left out: {stray}") for stray in strays)
                converted.records.append({"image": picture, "mask": encode_mask(mask), "text": text, "id": place})
        return converted

    def _picture(self, record: dict[str, Any], name: str) -> str:
        given = self.picture(record)
        if not isinstance(given, str) or not given:
            raise BadSample(str(self.file), name, f"{given!r:.80} is not the path of a file")
        picture = f"images/{given}" if (self.root / "images" / given).exists() else given
        inside(self.root, picture, self.file, name)
        return picture

    def picture(self, record: dict[str, Any]) -> Any:
        """The name of a record's picture."""
        raise NotImplementedError

    def objects(self, record: dict[str, Any], name: str) -> Iterator[tuple[Any, Any]]:
        """Segmentation and text of each object of a record; ``name`` is the record's, for errors."""
        raise NotImplementedError


@dataclass
class Sa2vaConverter(JsonListConverter):
    """Sa2VA's fine-tuning data: ``[{"image", "mask": [polygons of each object], "text": [of each object]}]``.

    Each object is a record with its text. Format: ``docs/finetune.md`` of https://github.com/bytedance/Sa2VA.
    """

    layout = SA2VA

    def picture(self, record: dict[str, Any]) -> Any:
        return record.get("image")

    def objects(self, record: dict[str, Any], name: str) -> Iterator[tuple[Any, Any]]:
        masks, texts = record.get("mask"), record.get("text")
        if not isinstance(masks, list) or not isinstance(texts, list) or len(masks) != len(texts):
            counts = [len(one) if isinstance(one, list) else type(one).__name__ for one in (masks, texts)]
            raise BadSample(
                str(self.file), name, f"mask {counts[0]} and text {counts[1]}: expected a list of each, as long"
            )
        yield from zip(masks, texts, strict=True)


@dataclass
class PhraseCutConverter(JsonListConverter):
    """PhraseCut's ``refer_SPLIT.json``: each phrase is a record, and its mask the union of its instances.

    A record has ``image_id``, ``phrase`` and ``Polygons``: instances, polygons, points ``[x, y]`` in px. Format:
    https://github.com/ChenyunWu/PhraseCutDataset.
    """

    layout = PHRASE_CUT

    def picture(self, record: dict[str, Any]) -> Any:
        return f"{record.get('image_id')}.jpg"

    def objects(self, record: dict[str, Any], name: str) -> Iterator[tuple[Any, Any]]:
        instances = record.get("Polygons")
        if not isinstance(instances, list) or not all(isinstance(polygons, list) for polygons in instances):
            raise BadSample(str(self.file), name, "Polygons are not a list of instances, polygons and points")
        yield [polygon for polygons in instances for polygon in polygons], record.get("phrase")

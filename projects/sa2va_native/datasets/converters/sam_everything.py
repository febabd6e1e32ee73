"""What SAM finds in a picture by itself -> own data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sa2va_native.datasets.converters.convert import Converted
from sa2va_native.datasets.converters.twin_folders import picture_named, size_of
from sa2va_native.datasets.reading.files import inside
from sa2va_native.datasets.reading.json_lines import JsonLines
from sa2va_native.datasets.reading.mask_codec import MaskError, decode_mask, encode_mask
from sa2va_native.errors import BadSample, DataError


@dataclass
class SamConverter:
    """Each mask of each ``NAME.json`` below ``root`` is a record; its picture is ``NAME.jpg`` beside it.

    The json is the list that ``SamAutomaticMaskGenerator`` of SAM and SAM 2 returns with ``output_mode="coco_rle"``: an
    object with the RLE ``segmentation`` for each mask. The picture may also be in a folder ``images/`` beside the one
    of the jsons, and be a PNG, WebP or BMP.

    Raises:
        DataError: from ``sources``, if there is no json.
    """

    root: Path
    parallel = True

    def sources(self) -> Sequence[str]:
        """The json files, relative to the root."""
        if names := sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*.json")):
            return names
        raise DataError(f"{self.root}: nothing to convert: no *.json in it or below. Give the folder that has them.")

    def convert(self, source: str) -> Converted:
        file = self.root / source
        try:
            inside(self.root, source, file, "file")
            masks = JsonLines(file, "Expected a list of masks, as SAM returns it.")
            picture = self._picture(Path(source))
            size = size_of(self.root / picture, file, "file", turned=False)
        except BadSample as bad:
            return Converted([], [bad])
        except DataError as error:
            return Converted([], [BadSample(str(file), "file", str(error))])
        converted = Converted([], [])
        for index in range(len(masks)):
            place = f"mask {index}"
            try:
                mask = encode_mask(decode_mask(masks[index].get("segmentation"), *size))
                converted.records.append({"image": picture, "mask": mask, "id": f"{source} {place}"})
            except BadSample as bad:
                converted.bad.append(bad)
            except MaskError as error:
                converted.bad.append(BadSample(str(file), place, str(error)))
        return converted

    def _picture(self, source: Path) -> str:
        """Beside the json, or in ``images/`` beside its folder or in the root."""
        folders = (source.parent, source.parent.parent / "images", Path("images"))
        stems = [(folder / source.stem).as_posix() for folder in folders]
        for stem in stems:
            with suppress(BadSample):
                return picture_named(self.root, stem, source.as_posix())
        return picture_named(self.root, stems[0], source.as_posix())

"""Combines several sources into one data set; bad samples are counted, named and replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.registry import DATASETS, TRANSFORMS

from sa2va_native.datasets.flip import flip
from sa2va_native.datasets.picture_order import knows_pictures
from sa2va_native.datasets.picture_share import items_by_share
from sa2va_native.datasets.transforms import Sides
from sa2va_native.datasets.unusable_items import UnusableItems
from sa2va_native.errors import BadSample, ConfigError, DataError, did_you_mean
from sa2va_native.randomness.generators import generator
from sa2va_native.structures import Draw, DrawKey, Kind, Sample

KINDS = ("cycle", "refer", "caption")
#: A kind that is evaluated and not trained.
CLIP = "clip"
#: Kinds whose region is described, which takes at least one cell of the token grid.
DESCRIBED_KINDS = ("cycle", "caption")

#: Kinds whose samples have a human text. A clip without one gives the mask of its first frame instead.
TOLD_KINDS = ("refer", "caption")

#: Why an item is unusable.
_BAD, _FEW_CELLS, _NO_PIXEL = "bad", "too few region cells", "no mask pixel"
#: A sample that is used without some pieces of its mask.
_STRAYS = "masks without their stray pieces"


class Adapter(Protocol):
    """Index -> Sample."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class Source(NamedTuple):
    """One source of a mixture; its items have the indices ``start .. start + len(items) - 1`` in the mixture."""

    kind: Kind
    dataset: Adapter
    items: Sequence[int] | np.ndarray  #: indices into ``dataset``
    start: int
    weight: float
    name: str  #: metrics distinguish sources by it


class Item(NamedTuple):
    """One transformed sample, before collation."""

    kind: Kind
    source: str
    sides: Sides
    text: str | None
    key: DrawKey
    sample_id: str
    attributes: dict[str, Any]
    gt_mask: np.ndarray | None  #: bool mask (of a clip, masks) of the mask side at original size; None while training
    others: torch.Tensor | None = None  #: [M, h, w] bool, other objects of the mask side; None unless asked for
    look: Hashable = None  #: the same for items that show the same pictures; None: unknown, or drawn alone


@DATASETS.register_module()
class MixtureDataset:
    """Sources of several kinds behind one index.

    A sample that cannot be used is counted, named and replaced with the next usable item of its source, so a draw gives
    the same sample on every rank and in every worker. A sample is unusable if it is

    * *bad*: the adapter raises ``BadSample``, a sample of a ``refer`` or ``caption`` source has no text, or, in an
      evaluation, one of a ``cycle`` or ``caption`` source no target. More than ``max_bad_samples`` different ones stop
      the run;
    * *too small*: an object of a ``cycle`` or ``caption`` source with *too few region cells* to be described (an
      expression without a target has none), or one of a ``cycle`` or ``refer`` source with *no mask pixel* left at the
      size of the loss. There is no limit on these. In an evaluation every object is scored.

    A sample of a ``refer`` source whose mask is empty has no target: it is used, and its right mask is no pixel.

    A sample whose mask lost stray pieces (``Sample.strays``) is used; it is counted and named as well.

    The counts are per rank and shared by its loader workers.

    Args:
        sources: dicts with ``kind`` (``cycle``, ``refer``, ``caption``, and ``clip`` in an evaluation), ``dataset``
            (an adapter or its config), and optionally ``weight`` (relative, among the sources of its kind; default 1),
            ``max_samples`` (a seeded subset of that many items), ``name`` (for the metrics of an evaluation), and
            ``held_out`` or ``only_held_out`` (a share of the pictures, which are left out, or alone used: see
            ``picture_share``).
        transform: a ``SampleTransform`` or its config.
        max_bad_samples: largest number of bad samples on a rank; one more ends the run.
        report_file: unusable samples are appended to it as JSON lines; None for no report. Ranks may share it; two
            processes that meet a sample at the same time both report it. The tools resolve a relative path in the work
            dir.
        keep_gt_masks: for evaluation: keep the mask of the mask side at its original size.
        seed: chooses the subset for ``max_samples``, and the flips until TrainLoop sets the run's seed.
        flip_share: share of the samples, 0..1, that are mirrored, with left and right swapped in their text; samples
            whose text would become false are left as they are (see ``flip``). For training.
        min_region_cells: smallest number of cells of a described region; Sa2VA was trained with 4.
        with_others: give ``cycle`` samples the masks of the picture's other objects, for costs that look at them. The
            adapter needs a method ``others(index, sample)``: bool masks (H, W) of the mask side.

    Raises:
        ConfigError: an unknown kind or key, a share outside 0..1, flips in an evaluation, ``min_region_cells`` below
            1, or ``with_others`` and a ``cycle`` source that does not know them.
    """

    def __init__(
        self,
        sources: Sequence[dict[str, Any]],
        transform: Any,
        max_bad_samples: int = 0,
        report_file: str | Path | None = None,
        keep_gt_masks: bool = False,
        seed: int = 0,
        flip_share: float = 0.0,
        min_region_cells: int = 1,
        with_others: bool = False,
    ) -> None:
        if not sources:
            raise ConfigError("a mixture needs at least one source, got none")
        if not 0 <= flip_share <= 1:
            raise ConfigError(f"flip_share must be within 0..1, got {flip_share}")
        if flip_share and keep_gt_masks:
            raise ConfigError(
                f"flip_share={flip_share} with keep_gt_masks: an evaluation does not mirror. Set flip_share=0."
            )
        if min_region_cells < 1:
            raise ConfigError(f"min_region_cells must be at least 1, got {min_region_cells}")
        self.seed, self.flip_share, self.min_region_cells = seed, flip_share, min_region_cells
        self.transform = TRANSFORMS.build(transform) if isinstance(transform, dict) else transform
        self.max_bad_samples, self.keep_gt_masks, self.with_others = max_bad_samples, keep_gt_masks, with_others
        self.report_file = Path(report_file) if report_file else None
        self.sources: list[Source] = []
        for config in sources:
            self.sources.append(_source(dict(config), start=len(self), seed=seed))
            self._require_others(self.sources[-1])
            if self.sources[-1].kind == CLIP and not keep_gt_masks:
                raise ConfigError(f"kind '{CLIP}' of a mixture source is for evaluation. Train on its frames instead.")
        self._unusable = UnusableItems((_BAD, _FEW_CELLS, _NO_PIXEL))
        self._strays = UnusableItems((_STRAYS,))
        self._rank = get_rank()  # a spawned worker is not in the process group

    def __len__(self) -> int:
        return self.sources[-1].start + len(self.sources[-1].items) if self.sources else 0

    def __getitem__(self, draw: Draw | int) -> Item:
        """The sample of a draw; a plain index, as from evaluation's sampler, is its own key.

        Raises:
            DataError: too many bad samples, or nothing usable in a source.
        """
        if not isinstance(draw, Draw):
            draw = Draw(int(draw), DrawKey(step=0, sample=int(draw)))
        if not 0 <= draw.item < len(self):
            raise IndexError(f"item {draw.item} of {len(self)}")
        source = self._source_of(draw.item)
        first = draw.item - source.start
        for step in range(len(source.items)):
            item = self._load(source, (first + step) % len(source.items), draw)
            if item is not None:
                return item
        raise DataError(
            f"no usable sample among {len(source.items)} of a '{source.kind}' source "
            f"({type(source.dataset).__name__}): {self.counts()}. {self._where()}Fix the data, or lower "
            "region_min_share of the transform if objects have too few cells."
        )

    def area_share(self, item: int) -> float:
        """Approximate share of its picture that an item's object covers, 0..1, without reading a file; 0 if unknown.

        For grouping batches by size.
        """
        source = self._source_of(item)
        share = getattr(source.dataset, "area_share", None)
        return share(int(source.items[item - source.start])) if share else 0.0

    def counts(self) -> dict[str, int]:
        """Number of different unusable samples that this rank has met so far, by reason."""
        return self._unusable.counts()

    def counts_of_strays(self) -> dict[str, int]:
        """Number of different samples that this rank has used without stray pieces of their masks."""
        return self._strays.counts()

    def _source_of(self, item: int) -> Source:
        return next(source for source in reversed(self.sources) if source.start <= item)

    def _where(self) -> str:
        return f"Each is named in {self.report_file}. " if self.report_file else ""

    def _load(self, source: Source, position: int, draw: Draw) -> Item | None:
        index = source.start + position
        if index in self._unusable:
            return None
        try:
            sample = source.dataset[int(source.items[position])]
            others = self._others(source, int(source.items[position]), sample)
            if source.kind in TOLD_KINDS and not sample.text:
                raise BadSample(sample.sample_id, "text", f"no text, which a '{source.kind}' source needs")
            if self.keep_gt_masks and source.kind in DESCRIBED_KINDS and not sample.mask.any():
                raise BadSample(sample.sample_id, "mask", f"no target, which a '{source.kind}' source describes")
        except BadSample as error:
            self._report(index, _BAD, str(error), error.report())
            return None
        if sample.strays and index not in self._strays:
            self._strays.add(index, _STRAYS)
            self._write(
                {"record": sample.sample_id, "reason": f"used without stray pieces: {'; '.join(sample.strays)}"}
            )
        sides = self.transform.clip(sample) if source.kind == CLIP else self.transform(sample)
        text = sample.text
        if not self.keep_gt_masks and (why := self._too_small(source.kind, sample, sides)):
            self._report(index, why, sample.sample_id, {"record": sample.sample_id, "reason": why})
            return None
        run = draw.run if knows_pictures(source.dataset) else None
        # A run is mirrored as a whole, so that it still shows one picture.
        flipped = flip(sides, text) if self._is_flipped(run or draw.key) else None
        if flipped:
            (sides, text), others = flipped, None if others is None else others.flip(-1)
        gt_mask = sample.mask if sample.mask2 is None else sample.mask2
        return Item(
            kind=source.kind,
            source=source.name,
            sides=sides,
            text=text,
            key=draw.key,
            sample_id=sample.sample_id,
            attributes=sample.attributes,
            gt_mask=gt_mask if self.keep_gt_masks else None,
            others=others,
            look=None if run is None else self._look(source, position, sides, bool(flipped)),
        )

    def _look(self, source: Source, position: int, sides: Sides, flipped: bool) -> Hashable:
        (picture,) = source.dataset.pictures([int(source.items[position])])  # type: ignore[attr-defined]
        return None if picture is None else (source.start, picture, sides.mask_side is None, flipped)

    def _shows_others(self, source: Source) -> bool:
        return self.with_others and source.kind == "cycle"

    def _require_others(self, source: Source) -> None:
        if self._shows_others(source) and not hasattr(source.dataset, "others"):
            raise ConfigError(
                f"with_others=True, but the source {source.name or type(source.dataset).__name__} does not know the "
                "other objects of a picture: leave it out, or give its masks as COCO instances (CocoInstances)"
            )

    def _others(self, source: Source, index: int, sample: Sample) -> torch.Tensor | None:
        adapter: Any = source.dataset
        return self.transform.masks(adapter.others(index, sample)) if self._shows_others(source) else None

    def _too_small(self, kind: Kind, sample: Sample, sides: Sides) -> str | None:
        """Why an object cannot be trained on; None if it can."""
        if kind in DESCRIBED_KINDS and int(sides.caption_side.region.sum()) < self.min_region_cells:
            return _FEW_CELLS
        if kind == "refer" and not sample.mask.any():
            return None
        if kind != "caption" and not sides.side2.mask.any():
            return _NO_PIXEL
        return None

    def _is_flipped(self, key: DrawKey) -> bool:
        if not self.flip_share:
            return False
        return float(torch.rand((), generator=generator(self.seed, key, "flip"))) < self.flip_share

    def _report(self, index: int, why: str, description: str, report: dict[str, str]) -> None:
        self._unusable.add(index, why)
        self._write(report)
        bad = self.counts()[_BAD]
        if why == _BAD and bad > self.max_bad_samples:
            raise DataError(
                f"bad samples: {bad}, more than max_bad_samples={self.max_bad_samples}; the last one: {description}. "
                f"{self._where()}Fix the data, or raise max_bad_samples of the data set."
            )

    def _write(self, report: dict[str, str]) -> None:
        """Appends a line to the report."""
        if self.report_file:
            self.report_file.parent.mkdir(parents=True, exist_ok=True)
            line = json.dumps({**report, "rank": self._rank}) + "\n"
            # a single write with O_APPEND, so that lines of several workers do not mix
            handle = os.open(self.report_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            try:
                os.write(handle, line.encode())
            finally:
                os.close(handle)


def _source(config: dict[str, Any], start: int, seed: int) -> Source:
    known = ("kind", "dataset", "weight", "max_samples", "name", "held_out", "only_held_out")
    for key in config:
        if key not in known:
            raise ConfigError(f"unknown key '{key}' in a mixture source. {did_you_mean(key, known)}")
    kind, weight = config.get("kind"), config.get("weight", 1.0)
    if kind not in (*KINDS, CLIP):
        raise ConfigError(f"kind '{kind}' of a mixture source is unknown. {did_you_mean(str(kind), (*KINDS, CLIP))}")
    if weight <= 0:
        raise ConfigError(f"weight of a mixture source must be above 0, got {weight}")
    dataset = config["dataset"]
    if isinstance(dataset, dict):
        dataset = DATASETS.build(dataset)
    items: Sequence[int] | np.ndarray = range(len(dataset))
    for key in ("held_out", "only_held_out"):
        if config.get(key) is not None:
            items = items_by_share(dataset, config[key], held_out=key == "only_held_out")
    max_samples = config.get("max_samples")
    if max_samples is not None and max_samples < len(items):
        if max_samples < 1:
            raise ConfigError(f"max_samples of a mixture source must be at least 1, got {max_samples}")
        items = np.sort(np.random.default_rng(seed).choice(items, max_samples, replace=False))
    return Source(kind, dataset, items, start, float(weight), config.get("name", ""))

"""Which samples each rank sees in each micro-iteration: a pure function of seed and iteration."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info
from mmengine.logging import print_log
from mmengine.registry import DATA_SAMPLERS

from sa2va_native.datasets.mixture import CLIP, DESCRIBED_KINDS, KINDS, MixtureDataset, Source
from sa2va_native.datasets.permutation import Permutation
from sa2va_native.datasets.picture_order import PictureOrder, knows_pictures, places_by_picture
from sa2va_native.errors import ConfigError, printable
from sa2va_native.structures import Draw, DrawKey, Kind

#: Choices among the sources of a kind are drawn in blocks of this many samples.
_BLOCK = 1024
#: Orders of at most this many items are drawn as a whole: half a megabyte.
_LISTED = 1 << 16


@DATA_SAMPLERS.register_module()
class MixtureBatchSampler:
    """Endless batches of one kind each, the same kind on all ranks.

    The global batch of micro-iteration ``i`` (``world_size * batch_size`` draws) depends only on ``seed`` and
    ``i``, and rank ``r`` takes the ``r``-th contiguous part of it: 1 rank with batch 2N sees the same as 2
    ranks with batch N. Each pass visits a source in the order of a seeded permutation, without repetition.

    Args:
        sampler: any sampler over the ``MixtureDataset`` (MMEngine builds one); only its ``dataset`` is used.
        batch_size: samples per rank and micro-iteration.
        pattern: kinds of successive micro-iterations, repeated indefinitely, e.g. ``("cycle", "cycle",
            "refer")``.
        group: number of global batches of a described kind that are drawn together, sorted by region size (see
            ``MixtureDataset.area_share``) and used in random order. Prompts for captions differ mostly in their number
            of region tokens, so there is less padding and ranks wait less for each other. 1 for no grouping.
        regions_per_picture: R, how many objects of one picture are drawn side by side in batches of masks without text
            (``cycle``), so that a step looks at their picture once; see ``PictureOrder``. Each pass still visits every
            item once. 1: each object is drawn by itself. R should divide ``batch_size``: a run that is cut by the end
            of a rank's batch is looked at in both parts. A source whose data set does not know its pictures is drawn
            as with 1.
        seed: seed of the order; TrainLoop sets it to the run's.
        start: first micro-iteration to yield; set it before iterating, to resume.
        rank, world_size: of this process; taken from MMEngine when None.

    Attributes:
        notes: what ``regions_per_picture`` cannot do here; logged.

    Raises:
        ConfigError: an empty pattern, a kind without a source, or a group or ``regions_per_picture`` below 1.
    """

    def __init__(
        self,
        sampler: Any,
        batch_size: int,
        pattern: Sequence[Kind] = ("cycle",),
        group: int = 1,
        seed: int = 0,
        start: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        regions_per_picture: int = 1,
    ) -> None:
        dataset: MixtureDataset = sampler.dataset
        present = {source.kind for source in dataset.sources}
        if not pattern:
            raise ConfigError("the pattern of kinds is empty; give at least one of " + ", ".join(KINDS))
        for kind in pattern:
            if kind not in present:
                raise ConfigError(
                    f"kind '{kind}' of the pattern has no source; sources have: {', '.join(sorted(present))}"
                )
        if group < 1:
            raise ConfigError(f"group must be at least 1, got {group}")
        if regions_per_picture < 1:
            raise ConfigError(f"regions_per_picture must be at least 1, got {regions_per_picture}")
        this_rank, all_ranks = get_dist_info()
        self.sampler, self.batch_size, self.pattern, self.group = sampler, batch_size, tuple(pattern), group
        self.seed, self.start = seed, start
        self.rank = this_rank if rank is None else rank
        self.world_size = all_ranks if world_size is None else world_size
        self._samples = len(dataset)
        self._sources = {kind: [s for s in dataset.sources if s.kind == kind] for kind in sorted(present)}
        self.regions_per_picture = regions_per_picture
        self.notes = self._limits_of_runs()
        for note in self.notes:
            print_log(printable(note), logger="current")

    def __len__(self) -> int:
        """Micro-iterations with as many samples as the mixture has; the iteration itself never ends."""
        return -(-self._samples // (self.batch_size * self.world_size))

    def __iter__(self) -> Iterator[list[Draw]]:
        streams = {kind: self._global_batches(kind) for kind in self._sources}
        for iteration in itertools.count(self.start):
            kind = self.pattern[iteration % len(self.pattern)]
            items, size = next(streams[kind]), self._run_size(kind)
            draws = [Draw(item, DrawKey(iteration, position)) for position, item in enumerate(items)]
            if size > 1:
                draws = [draw._replace(run=draws[i - i % size].key) for i, draw in enumerate(draws)]
            yield draws[self.rank * self.batch_size : (self.rank + 1) * self.batch_size]

    def _run_size(self, kind: Kind) -> int:
        """How many items of a kind are drawn together."""
        known = kind == "cycle" and any(knows_pictures(source.dataset) for source in self._sources[kind])
        return self.regions_per_picture if known else 1

    def _limits_of_runs(self) -> list[str]:
        size = self.regions_per_picture
        if size == 1:
            return []
        notes = [
            f"regions_per_picture={size}: the source {source.name or type(source.dataset).__name__} does not tell "
            "which objects are of one picture, so it is drawn object by object"
            for source in self._sources.get("cycle", ())
            if not knows_pictures(source.dataset)
        ]
        if self.batch_size % size:
            notes.append(
                f"regions_per_picture={size} does not divide the batch of {self.batch_size}: where a batch ends within "
                "the objects of a picture, both parts look at it"
            )
        return notes

    def _global_batches(self, kind: Kind) -> Iterator[list[int]]:
        """Items of the global batches of a kind, beginning with the first one at or after ``start``."""
        size, group = self.batch_size * self.world_size, self.group if kind in DESCRIBED_KINDS else 1
        key = (self.seed, KINDS.index(kind))
        first, offset = divmod(self._batches_before(kind), group)
        run = self._run_size(kind)
        stream = _item_stream(self._sources[kind], key, first * group * size, run)
        for number in itertools.count(first):
            items = list(itertools.islice(stream, group * size))
            if group == 1:
                yield items
                continue
            runs = [items[i : i + run] for i in range(0, len(items), run)]
            runs.sort(key=lambda one: fmean(map(self.sampler.dataset.area_share, one)))
            items = list(itertools.chain.from_iterable(runs))
            batches = [items[i : i + size] for i in range(0, len(items), size)]
            order = np.random.default_rng((*key, 2, number)).permutation(group)
            yield from (batches[i] for i in order[offset:])
            offset = 0

    def _batches_before(self, kind: Kind) -> int:
        passes, rest = divmod(self.start, len(self.pattern))
        return passes * self.pattern.count(kind) + self.pattern[:rest].count(kind)


def _item_stream(sources: list[Source], key: tuple[int, int], skip: int, size: int) -> Iterator[int]:
    """Indices into the mixture, beginning with sample ``skip`` of this kind; each ``size`` are from one source."""
    weights = np.array([source.weight for source in sources])
    visited = np.zeros(len(sources), dtype=np.int64)
    skipped, done = divmod(skip, size)
    for block in range(skipped // _BLOCK):
        visited += size * np.bincount(_choices(weights, key, block), minlength=len(sources))
    block, offset = divmod(skipped, _BLOCK)
    visited += size * np.bincount(_choices(weights, key, block)[:offset], minlength=len(sources))
    orders = [_passes(source, (*key, 1, number), size) for number, source in enumerate(sources)]
    while True:
        for choice in _choices(weights, key, block)[offset:]:
            source = sources[choice]
            visited[choice] += done  # of a run that was cut by the end of a batch
            for _ in range(done, size):
                which_pass, position = divmod(int(visited[choice]), len(source.items))
                visited[choice] += 1
                yield source.start + int(orders[choice](which_pass)[position])
            done = 0
        block, offset = block + 1, 0


def _passes(source: Source, key: tuple[int, ...], size: int) -> Callable[[int], Sequence[int] | np.ndarray]:
    """The order of each pass over a source, in runs of ``size`` if it knows its pictures; the last one is kept."""
    items, dataset = source.items, source.dataset
    if size == 1 or not knows_pictures(dataset):
        return functools.lru_cache(1)(lambda which: order_of(len(items), (*key, which)))
    places = places_by_picture(dataset, items)
    return functools.lru_cache(1)(
        lambda which: PictureOrder(dataset, items, places, size, -which * len(items) % size, (*key, which))
    )


def order_of(length: int, key: tuple[int, ...]) -> Sequence[int] | np.ndarray:
    """The order of one pass; in constant memory if there are more than ``_LISTED`` items."""
    return np.random.default_rng(key).permutation(length) if length <= _LISTED else Permutation(length, key)


def _choices(weights: np.ndarray, key: tuple[int, int], block: int) -> np.ndarray:
    rng = np.random.default_rng((*key, 0, block))
    return rng.choice(len(weights), size=_BLOCK, p=weights / weights.sum())


@DATA_SAMPLERS.register_module()
class EvaluationBatchSampler:
    """Every item of a mixture once, in order, in batches of one source; rank ``r`` takes every ``world_size``-th batch.

    A clip is a batch of its own.

    Nothing is padded or dropped, so ranks may have different numbers of batches; metrics pool the results of all ranks.

    Args:
        sampler: any sampler over the ``MixtureDataset`` (MMEngine builds one); only its ``dataset`` is used.
        batch_size: samples per batch; the last one of a source may hold fewer.
        rank, world_size: of this process; taken from MMEngine when None.
    """

    def __init__(self, sampler: Any, batch_size: int, rank: int | None = None, world_size: int | None = None) -> None:
        this_rank, all_ranks = get_dist_info()
        rank = this_rank if rank is None else rank
        self.sampler, self.batch_size = sampler, batch_size
        batches = [
            [Draw(item, DrawKey(step=0, sample=item)) for item in range(first, min(first + size, end))]
            for source in sampler.dataset.sources
            for end in (source.start + len(source.items),)
            for size in (1 if source.kind == CLIP else batch_size,)
            for first in range(source.start, end, size)
        ]
        self.batches = batches[rank :: all_ranks if world_size is None else world_size]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Draw]]:
        return iter(self.batches)

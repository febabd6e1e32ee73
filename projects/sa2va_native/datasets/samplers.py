"""Which samples each rank sees in each micro-iteration: a pure function of seed and iteration."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS

from sa2va_native.datasets.mixture import DESCRIBED_KINDS, KINDS, MixtureDataset
from sa2va_native.datasets.permutation import Permutation
from sa2va_native.errors import ConfigError
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
        seed: seed of the order; TrainLoop sets it to the run's.
        start: first micro-iteration to yield; set it before iterating, to resume.
        rank, world_size: of this process; taken from MMEngine when None.

    Raises:
        ConfigError: an empty pattern, a kind without a source, or a group below 1.
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
        this_rank, all_ranks = get_dist_info()
        self.sampler, self.batch_size, self.pattern, self.group = sampler, batch_size, tuple(pattern), group
        self.seed, self.start = seed, start
        self.rank = this_rank if rank is None else rank
        self.world_size = all_ranks if world_size is None else world_size
        self._samples = len(dataset)
        self._sources = {kind: [s for s in dataset.sources if s.kind == kind] for kind in sorted(present)}

    def __len__(self) -> int:
        """Micro-iterations with as many samples as the mixture has; the iteration itself never ends."""
        return -(-self._samples // (self.batch_size * self.world_size))

    def __iter__(self) -> Iterator[list[Draw]]:
        streams = {kind: self._global_batches(kind) for kind in self._sources}
        for iteration in itertools.count(self.start):
            items = next(streams[self.pattern[iteration % len(self.pattern)]])
            draws = [Draw(item, DrawKey(iteration, position)) for position, item in enumerate(items)]
            yield draws[self.rank * self.batch_size : (self.rank + 1) * self.batch_size]

    def _global_batches(self, kind: Kind) -> Iterator[list[int]]:
        """Items of the global batches of a kind, beginning with the first one at or after ``start``."""
        size, group = self.batch_size * self.world_size, self.group if kind in DESCRIBED_KINDS else 1
        key = (self.seed, KINDS.index(kind))
        first, offset = divmod(self._batches_before(kind), group)
        stream = _item_stream(self._sources[kind], key, first * group * size)
        for number in itertools.count(first):
            items = list(itertools.islice(stream, group * size))
            if group == 1:
                yield items
                continue
            items.sort(key=self.sampler.dataset.area_share)
            batches = [items[i : i + size] for i in range(0, len(items), size)]
            order = np.random.default_rng((*key, 2, number)).permutation(group)
            yield from (batches[i] for i in order[offset:])
            offset = 0

    def _batches_before(self, kind: Kind) -> int:
        passes, rest = divmod(self.start, len(self.pattern))
        return passes * self.pattern.count(kind) + self.pattern[:rest].count(kind)


def _item_stream(sources: list[Any], key: tuple[int, int], skip: int) -> Iterator[int]:
    """Indices into the mixture, beginning with sample ``skip`` of this kind."""
    weights = np.array([source.weight for source in sources])
    visited = np.zeros(len(sources), dtype=np.int64)
    for block in range(skip // _BLOCK):
        visited += np.bincount(_choices(weights, key, block), minlength=len(sources))
    block, offset = divmod(skip, _BLOCK)
    visited += np.bincount(_choices(weights, key, block)[:offset], minlength=len(sources))
    orders: dict[int, tuple[int, Sequence[int] | np.ndarray]] = {}
    while True:
        for choice in _choices(weights, key, block)[offset:]:
            source = sources[choice]
            which_pass, position = divmod(int(visited[choice]), len(source.items))
            if choice not in orders or orders[choice][0] != which_pass:
                orders[choice] = (which_pass, order_of(len(source.items), (*key, 1, int(choice), which_pass)))
            visited[choice] += 1
            yield source.start + int(orders[choice][1][position])
        block, offset = block + 1, 0


def order_of(length: int, key: tuple[int, ...]) -> Sequence[int] | np.ndarray:
    """The order of one pass; in constant memory if there are more than ``_LISTED`` items."""
    return np.random.default_rng(key).permutation(length) if length <= _LISTED else Permutation(length, key)


def _choices(weights: np.ndarray, key: tuple[int, int], block: int) -> np.ndarray:
    rng = np.random.default_rng((*key, 0, block))
    return rng.choice(len(weights), size=_BLOCK, p=weights / weights.sum())


@DATA_SAMPLERS.register_module()
class EvaluationBatchSampler:
    """Every item of a mixture once, in order, in batches of one source; rank ``r`` takes every ``world_size``-th batch.

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
            [Draw(item, DrawKey(step=0, sample=item)) for item in range(first, min(first + batch_size, end))]
            for source in sampler.dataset.sources
            for end in (source.start + len(source.items),)
            for first in range(source.start, end, batch_size)
        ]
        self.batches = batches[rank :: all_ranks if world_size is None else world_size]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[Draw]]:
        return iter(self.batches)

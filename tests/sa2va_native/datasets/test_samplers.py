"""The order of samples follows from seed and iteration: not from ranks, workers or where a run resumed."""

from __future__ import annotations

import itertools
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

from sa2va_native.datasets import samplers
from sa2va_native.datasets.collate import collate_batch
from sa2va_native.datasets.mixture import MixtureDataset
from sa2va_native.datasets.samplers import EvaluationBatchSampler, MixtureBatchSampler
from sa2va_native.errors import ConfigError
from sa2va_native.structures import Draw, DrawKey
from tests.sa2va_native.datasets.test_mixture import TRANSFORM, Numbers

PATTERN = ("cycle", "cycle", "refer")


def dataset() -> MixtureDataset:
    return MixtureDataset(
        [
            {"kind": "cycle", "dataset": Numbers(30), "weight": 3},
            {"kind": "refer", "dataset": Numbers(12)},
            {"kind": "cycle", "dataset": Numbers(9), "weight": 1},
        ],
        TRANSFORM,
    )


def batches(count: int, batch_size: int = 4, **settings: object) -> list[list[Draw]]:
    settings = {"pattern": PATTERN, "seed": 3, "rank": 0, "world_size": 1, **settings}
    sampler = MixtureBatchSampler(SimpleNamespace(dataset=dataset()), batch_size, **settings)
    return list(itertools.islice(sampler, count))


def test_two_ranks_see_what_one_rank_with_twice_the_batch_sees():
    """Red when ranks shard after shuffling by themselves, or when keys depend on the rank."""
    joint = batches(40, batch_size=4)
    parts = [batches(40, batch_size=2, rank=rank, world_size=2) for rank in (0, 1)]
    assert [first + second for first, second in zip(*parts, strict=True)] == joint


def test_keys_name_iteration_and_position_in_the_global_batch():
    """Red when two samples of a step share their noise, or it changes with the number of ranks."""
    second_rank = batches(3, batch_size=2, rank=1, world_size=2)
    assert [draw.key for draw in second_rank[2]] == [DrawKey(2, 2), DrawKey(2, 3)]


@pytest.mark.parametrize("listed", [1 << 16, 10])
@pytest.mark.parametrize("start", [1, 2, 3, 7, 601])
def test_resuming_at_an_iteration_continues_the_same_order(start: int, listed: int, monkeypatch: pytest.MonkeyPatch):
    """Red when a resumed run starts its passes anew. 601 lies beyond the first block of source choices.

    Orders of more than ``listed`` items are computed, not drawn as a whole.
    """
    monkeypatch.setattr(samplers, "_LISTED", listed)
    assert batches(5, start=start) == batches(start + 5)[start:]


def test_the_kind_follows_the_pattern_on_every_rank():
    """Red when a rank draws its own kind: ranks would run different collectives and hang."""
    ranges = {"cycle": {*range(30), *range(42, 51)}, "refer": {*range(30, 42)}}
    for rank in (0, 1):
        for i, batch in enumerate(batches(30, rank=rank, world_size=2)):
            assert {draw.item for draw in batch} <= ranges[PATTERN[i % 3]]


@pytest.mark.parametrize("listed", [1 << 16, 10])
def test_every_pass_visits_every_item_once_and_in_a_new_order(listed: int, monkeypatch: pytest.MonkeyPatch):
    """Red when sampling is with replacement, or each pass repeats the order of the first."""
    monkeypatch.setattr(samplers, "_LISTED", listed)
    refer = [draw.item for batch in batches(27)[2::3] for draw in batch]  # 9 batches of 4 = 3 passes of 12
    passes = [refer[i : i + 12] for i in (0, 12, 24)]
    assert all(sorted(one) == list(range(30, 42)) for one in passes)
    assert passes[0] != passes[1] != passes[2]


def test_weights_are_relative_shares_of_the_samples_of_a_kind():
    """Red when weights are ignored or apply across kinds: 3 to 1, though the sources have 30 and 9 items."""
    drawn = Counter(draw.item < 30 for batch in batches(900) for draw in batch if not 30 <= draw.item < 42)
    assert drawn[True] / drawn.total() == pytest.approx(0.75, abs=0.03)


def test_the_seed_changes_the_order():
    """Also when it is put in later, as TrainLoop does."""
    assert batches(5) != batches(5, seed=4)
    assert batches(5) == batches(5)
    sampler = MixtureBatchSampler(SimpleNamespace(dataset=dataset()), 4, PATTERN, seed=3)
    sampler.seed = 4
    assert list(itertools.islice(sampler, 5)) == batches(5, seed=4)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(workers: int):
    """Red when a worker draws anything from its own random state."""

    def load(num_workers: int) -> list:
        data = dataset()
        sampler = MixtureBatchSampler(SimpleNamespace(dataset=data), 2, PATTERN, seed=3)
        loader = DataLoader(data, batch_sampler=sampler, num_workers=num_workers, collate_fn=collate_batch)
        return [one["batch"] for one in itertools.islice(loader, 9)]

    for expected, batch in zip(load(0), load(workers), strict=True):
        assert (batch.kind, batch.keys, batch.sample_ids) == (
            expected.kind,
            expected.keys,
            expected.sample_ids,
        )
        assert torch.equal(batch.caption_side.pixel_values, expected.caption_side.pixel_values)


def test_a_pattern_needs_sources():
    with pytest.raises(ConfigError, match="'caption' of the pattern has no source"):
        batches(1, pattern=("cycle", "caption"))
    with pytest.raises(ConfigError, match="empty"):
        batches(1, pattern=())


@pytest.mark.parametrize("world_size", [1, 3])
def test_evaluation_sees_every_item_once_and_sources_apart(world_size):
    """Red when ranks repeat or lose samples to come out even, or a batch mixes sources."""
    sampler = SimpleNamespace(dataset=dataset())
    ranks = [EvaluationBatchSampler(sampler, 4, rank, world_size) for rank in range(world_size)]
    batches = [[draw.item for draw in batch] for rank in ranks for batch in rank]
    assert sorted(item for batch in batches for item in batch) == list(range(len(sampler.dataset)))
    ranges = [range(s.start, s.start + len(s.items)) for s in sampler.dataset.sources]
    assert all(any(set(batch) <= set(one) for one in ranges) for batch in batches)


class Sized(Numbers):
    """Item ``i`` covers a share of its picture that jumps from item to item."""

    def area_share(self, index: int) -> float:
        return (7 * index % self.length) / self.length


def grouped(count: int, group: int, start: int = 0, rank: int = 0, world_size: int = 1) -> list[list[Draw]]:
    data = MixtureDataset([{"kind": "cycle", "dataset": Sized(60)}, {"kind": "refer", "dataset": Sized(60)}], TRANSFORM)
    sampler = MixtureBatchSampler(
        SimpleNamespace(dataset=data), 4 // world_size, ("cycle", "refer"), group, 3, start, rank, world_size
    )
    return list(itertools.islice(sampler, count))


def test_grouped_batches_hold_regions_of_like_size_and_the_same_items():
    """Red when grouping loses or repeats items, sorts the whole run, or has no effect on what is padded."""

    def spread(batches: list[list[Draw]]) -> float:
        shares = [[Sized(60).area_share(draw.item) for draw in batch] for batch in batches[::2]]
        return sum(max(batch) - min(batch) for batch in shares)

    plain, like = grouped(30, 1), grouped(30, 5)
    assert spread(like) < spread(plain) / 3
    for first in range(0, 30, 10):  # five batches of each kind
        block = slice(first, first + 10, 2)
        plain_items, items = (sorted(draw.item for batch in one[block] for draw in batch) for one in (plain, like))
        assert items == plain_items
    assert [batch for batch in like[1::2]] == [batch for batch in plain[1::2]], "no region is described"
    means = [sum(Sized(60).area_share(draw.item) for draw in batch) for batch in like[:10:2]]
    assert means != sorted(means), "large regions would always come last"


@pytest.mark.parametrize("start", [1, 4, 10, 13])
def test_grouped_batches_resume_and_are_shared_by_ranks_as_others_are(start: int):
    """Red when a resume inside a group begins it anew, or ranks group by themselves."""
    whole = grouped(20, 5)
    assert grouped(20 - start, 5, start) == whole[start:]
    parts = [grouped(20, 5, rank=rank, world_size=2) for rank in (0, 1)]
    assert [first + second for first, second in zip(*parts, strict=True)] == whole


def test_a_group_of_none_is_refused():
    with pytest.raises(ConfigError, match="group must be at least 1, got 0"):
        grouped(1, 0)

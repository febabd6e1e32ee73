"""Objects of one picture are drawn side by side, and still each once a pass, whatever ranks, batches and resumes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sa2va_native.datasets import picture_order
from sa2va_native.datasets.adapters.coco import CocoInstances
from sa2va_native.datasets.adapters.describe_anything import DescribeAnything
from sa2va_native.datasets.adapters.open_images import OpenImages
from sa2va_native.datasets.adapters.own_data import OwnData
from sa2va_native.datasets.adapters.sa1b import Sa1b
from sa2va_native.datasets.adapters.scenes import SceneMasks
from sa2va_native.datasets.collate import collate_batch
from sa2va_native.datasets.mixture import MixtureDataset
from sa2va_native.datasets.picture_order import knows_pictures, places_by_picture
from sa2va_native.datasets.samplers import MixtureBatchSampler
from sa2va_native.errors import ConfigError
from sa2va_native.structures import Draw, DrawKey, Sample
from tests.sa2va_native.datasets import native
from tests.sa2va_native.datasets.adapters.test_own_data import SQUARE, make
from tests.sa2va_native.datasets.test_mixture import TRANSFORM, Numbers


class Album(Numbers):
    """Item ``i`` is an object of the picture ``shown[i]``, whose right half has this colour."""

    def __init__(self, shown: Sequence[int]) -> None:
        super().__init__(len(shown))
        self.shown = list(shown)

    def pictures(self, indices: Sequence[int]) -> list[Hashable]:
        return [self.shown[index] for index in indices]

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        sample.image = np.full((32, 32, 3), self.shown[index], np.uint8)
        sample.image[:, :16] = 200  # mirrored it is another picture
        return sample


class Shuffled(Album):
    """An album whose items are in any order."""

    def by_picture(self) -> np.ndarray:
        return np.argsort(self.shown, kind="stable")


def album(*counts: int) -> Album:
    """So many objects in each picture."""
    return Album(np.repeat(np.arange(len(counts)), counts))


def sampler(sources: Sequence[Any], batch_size: int, size: int, **settings: Any) -> MixtureBatchSampler:
    data = MixtureDataset([{"kind": "cycle", **source} for source in sources], TRANSFORM, flip_share=0.5)
    settings = {"seed": 3, "rank": 0, "world_size": 1, **settings}
    return MixtureBatchSampler(SimpleNamespace(dataset=data), batch_size, regions_per_picture=size, **settings)


def items_of(batches: Sequence[Sequence[Draw]]) -> list[int]:
    return [draw.item for batch in batches for draw in batch]


def drawn(count: int, *args: Any, **settings: Any) -> list[list[Draw]]:
    return list(itertools.islice(sampler(*args, **settings), count))


#: Objects in each picture: as many, few and many, fewer than a run, one, more than are looked up at once.
COUNTS = [(8,) * 5, (1, 12, 3, 7, 2, 2, 5), (3,), (1,) * 9, (30, 1, 41)]


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("size", [2, 4, 7, 64])
def test_each_pass_holds_every_item_once_in_few_looks(
    counts: tuple[int, ...], size: int, monkeypatch: pytest.MonkeyPatch
):
    """Red when a pass repeats or misses an item, or pictures come more often than their objects fill runs."""
    monkeypatch.setattr(picture_order, "_BLOCK", 16)
    data, total = album(*counts), sum(counts)
    items = items_of(drawn(6 * total, [{"dataset": data}], 1, size))
    passes = [items[first : first + total] for first in range(0, len(items), total)]
    assert all(sorted(one) == list(range(total)) for one in passes)
    assert total < 12 or len({tuple(one) for one in passes}) == len(passes)
    # Each run is one look, and one more for each picture that begins within a run; two runs are cut by the pass's ends.
    runs = [{data.shown[item] for item in items[i : i + size]} for i in range(0, len(items), size)]
    assert sum(map(len, runs)) <= len(runs) + 6 * (len(counts) + 2)


@pytest.mark.parametrize("size", [3, 4])
@pytest.mark.parametrize("batch_size", [4, 6])
@pytest.mark.parametrize("start", [1, 4, 13, 700])
def test_runs_resume_and_are_shared_by_ranks_as_single_objects_are(size: int, batch_size: int, start: int):
    """Red when a resume begins a run anew, or ranks group by themselves. 700 lies beyond the first block of choices."""
    sources = [{"dataset": album(*COUNTS[1]), "weight": 3}, {"dataset": Numbers(9)}, {"dataset": album(5, 5)}]
    whole = drawn(start + 8, sources, batch_size, size)
    assert drawn(8, sources, batch_size, size, start=start) == whole[start:]
    assert (
        drawn(8, sources, batch_size, size, start=start, group=3)[:2]
        == drawn(start + 2, sources, batch_size, size, group=3)[start:]
    )
    parts = [drawn(8, sources, batch_size // 2, size, rank=rank, world_size=2) for rank in (0, 1)]
    assert [first + second for first, second in zip(*parts, strict=True)] == whole[:8]


def test_runs_of_a_size_that_divides_the_batch_are_not_cut():
    """Red when runs drift against batches: 8 objects a picture in runs of 4 need 2 looks, and 1 more at most."""
    data = album(*(8,) * 20)
    batches = drawn(120, [{"dataset": data}, {"dataset": Numbers(7)}], 4, 4)
    own = [batch for batch in batches if batch[0].item < 160]
    assert all(batch[-1].item < 160 for batch in own), "a run is of one source"
    assert all(len({data.shown[draw.item] for draw in batch}) <= 2 for batch in own)
    assert [draw.run for draw in batches[5]] == [DrawKey(5, 0)] * 4


def test_one_object_a_picture_is_todays_order():
    """Red when the default changes what a run sees: draws are those of data sets that know nothing of pictures."""
    for group in (1, 3):
        known = drawn(50, [{"dataset": album(*COUNTS[1]), "weight": 2}, {"dataset": album(9)}], 4, 1, group=group)
        plain = drawn(50, [{"dataset": Numbers(32), "weight": 2}, {"dataset": Numbers(9)}], 4, 1, group=group)
        assert known == plain
        assert all(draw.run is None for batch in known for draw in batch)


def test_a_source_that_does_not_tell_is_drawn_as_before_and_named():
    """Red when it is drawn in another order, or nobody learns that its pictures are looked at again and again."""
    before = drawn(20, [{"dataset": Numbers(11)}], 4, 1)
    assert drawn(20, [{"dataset": Numbers(11)}], 4, 4) == before
    mixed = sampler([{"dataset": Numbers(11)}, {"dataset": album(6, 6), "name": "known"}], 4, 3)
    assert len(mixed.notes) == 2
    assert "the source Numbers does not tell which objects are of one picture" in mixed.notes[0]
    assert "does not divide the batch of 4" in mixed.notes[1]
    items = [item for item in items_of(list(itertools.islice(mixed, 50))) if item < 11]
    assert items[:60] == items_of(before)[:60]
    with pytest.raises(ConfigError, match="regions_per_picture must be at least 1, got 0"):
        sampler([{"dataset": Numbers(3)}], 2, 0)


def test_only_masks_without_text_are_drawn_together():
    """Red when expressions, whose answers are read once each, lose their variety."""
    data = MixtureDataset([{"kind": kind, "dataset": album(6, 6)} for kind in ("cycle", "refer")], TRANSFORM)
    orders = []
    for size in (1, 4):
        one = MixtureBatchSampler(
            SimpleNamespace(dataset=data), 4, ("cycle", "refer"), seed=3, regions_per_picture=size
        )
        orders.append(list(itertools.islice(one, 20)))
    assert orders[0][1::2] == orders[1][1::2]
    assert orders[0][::2] != orders[1][::2]


def test_a_subset_of_a_set_in_any_order_is_grouped_too():
    """Red when ``max_samples`` and an order by picture do not meet: items twice, or none of them neighbours."""
    data = Shuffled(np.random.default_rng(0).integers(5, size=60))
    one = sampler([{"dataset": data, "max_samples": 40}], 4, 4)
    (source,) = one.sampler.dataset.sources
    shown = [data.shown[int(source.items[place])] for place in places_by_picture(data, source.items)]
    assert len(list(itertools.groupby(shown))) == 5
    items = items_of(list(itertools.islice(one, 20)))
    assert sorted(items[:40]) == sorted(items[40:]) == list(range(40))


def test_a_batch_tells_which_samples_show_the_same_pictures():
    """Red when a mirrored picture, that of a sample put in for a bad one, or another source's counts as the same."""
    data = album(6, 6)
    data.bad = (2,)
    mixed = MixtureDataset([{"kind": "cycle", "dataset": one} for one in (data, album(6, 6), Numbers(4))],
        TRANSFORM, max_bad_samples=1, flip_share=0.5)  # fmt: skip
    runs = [DrawKey(step, 0) for step in range(8)]
    draws = [Draw(item, DrawKey(0, item), run) for run in runs for item in (1, 2, 8, 13, 24, 25)]
    batch = collate_batch([mixed[draw] for draw in draws])["batch"]
    pixels = [picture.numpy().tobytes() for picture in batch.caption_side.pixel_values]
    assert batch.looks is not None
    for i, j in itertools.combinations(range(len(draws)), 2):
        told = draws[i].item < 24 and draws[j].item < 24 and (draws[i].item < 12) == (draws[j].item < 12)
        assert (batch.looks[i] == batch.looks[j]) == (told and pixels[i] == pixels[j]), (draws[i], draws[j])
    for first in range(0, len(draws), 6):
        assert batch.looks[first] == batch.looks[first + 1], "a run is mirrored as a whole"
    alone = collate_batch([mixed[draw._replace(run=None)] for draw in draws])["batch"]
    assert alone.looks is None


def coco(root: Path) -> CocoInstances:
    annotations = [
        {"id": number, "image_id": image, "segmentation": [[2, 2, 8, 2, 8, 8, 2, 8]], "area": 36, "iscrowd": 0}
        for number, image in enumerate((2, 1, 2, "1", 1, 3))
    ]
    images = [{"id": i, "file_name": f"{i}.jpg", "height": 24, "width": 32} for i in (1, 2, 3)]
    (root / "instances.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    native.write_files(root, {f"{i}.jpg": native.jpeg(native.picture(i)) for i in (1, 2, 3)})
    return CocoInstances(root / "instances.json", root)


def own_data(root: Path) -> OwnData:
    records = [{"image": image, "mask": SQUARE} for image in ("a.png", "a.png", "b.png")]
    return OwnData(make(root, *records, {"image": "a.png", "mask": SQUARE, "image2": "b.png", "mask2": SQUARE}))


SETS: dict[str, Callable[[Path], Any]] = {
    "coco": coco,
    "own": own_data,
    "scenes": lambda root: SceneMasks("mask_only", root / "set", {"sizes": {"mask_only": 4}}),
    "sa1b_tar": lambda root: Sa1b(native.write_sa1b(root, "tar")),
    "sa1b_files": lambda root: Sa1b(native.write_sa1b(root, "apart")),
    "describe_anything": lambda root: DescribeAnything(native.write_describe_anything(root), "SAM"),
    "open_images": lambda root: OpenImages(
        native.write_open_images(root, [native.open_images_line(f"m{i}.png", f"p{1 + i % 2}") for i in (1, 2, 3)])
    ),
}


@pytest.mark.parametrize("name", SETS)
def test_what_a_set_tells_is_what_its_samples_show(name: str, tmp_path: Path):
    """Red when objects of different pictures would share one look, or those of one picture never meet."""
    data = SETS[name](tmp_path)
    assert knows_pictures(data)
    places = list(places_by_picture(data, range(len(data))))
    assert sorted(places) == list(range(len(data)))
    shown = data.pictures(places)
    samples = [data[place] for place in places]
    for i, j in itertools.combinations(range(len(places)), 2):
        same = np.array_equal(samples[i].image, samples[j].image)
        if (samples[i].image2 is None) == (samples[j].image2 is None):
            assert (shown[i] == shown[j]) == same
        assert same or shown[i] != shown[j]
    assert len(list(itertools.groupby(shown))) == len(set(shown)), "objects of a picture are not neighbours"
    assert len(set(shown)) < len(shown), "the test needs two objects in a picture"

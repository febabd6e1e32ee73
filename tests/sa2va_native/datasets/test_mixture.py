"""Bad samples are counted, named, replaced and limited; kinds and caps are kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sa2va_native.datasets.collate import collate_batch
from sa2va_native.datasets.mixture import MixtureDataset
from sa2va_native.datasets.transforms import SampleTransform
from sa2va_native.errors import BadSample, ConfigError, DataError
from sa2va_native.structures import Draw, DrawKey, Sample

TRANSFORM = SampleTransform(image_size=16, grounding_size=16, grid_size=4, mask_size=8, region_pooling="nearest")


class Numbers:
    """Sample ``i`` is a picture of colour ``i``; some are bad, some have an object without a region cell."""

    def __init__(
        self, length: int, bad: tuple[int, ...] = (), tiny: tuple[int, ...] = (), text: str | None = "the one"
    ):
        self.length, self.bad, self.tiny, self.text = length, bad, tiny, text

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if index in self.bad:
            raise BadSample("numbers.json", f"annotation {index}", "empty mask")
        mask = np.zeros((32, 32), bool)
        mask[: 3 if index in self.tiny else 20, :20] = True
        return Sample(f"number {index}", np.full((32, 32, 3), index % 256, np.uint8), mask, self.text)


def mixture(*sources: dict, **settings: object) -> MixtureDataset:
    return MixtureDataset(sources, TRANSFORM, **settings)


def test_a_bad_sample_is_counted_once_reported_and_replaced_by_the_next(tmp_path: Path):
    """Red when a bad sample is swallowed, counted twice, or replaced at random (ranks would differ)."""
    report = tmp_path / "logs/bad_samples.jsonl"
    data = mixture({"kind": "refer", "dataset": Numbers(5, bad=(2, 3))}, max_bad_samples=2, report_file=report)
    for _ in range(2):
        assert data[Draw(2, DrawKey(7, 1))].sample_id == "number 4"
    assert data[2].key == DrawKey(0, 2)
    assert data[Draw(2, DrawKey(7, 1))].key == DrawKey(7, 1)
    assert data.counts() == {"bad": 2, "too few region cells": 0, "no mask pixel": 0}
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert [line["record"] for line in lines] == ["annotation 2", "annotation 3"]
    assert lines[0]["path"] == "numbers.json"
    assert lines[0]["reason"] == "empty mask"


def test_only_a_bad_sample_is_replaced():
    """Red when any exception counts as a bad sample: a bug would then pass for bad data, on one rank."""

    class Buggy(Numbers):
        def __getitem__(self, index: int) -> Sample:
            raise KeyError("mask")

    with pytest.raises(KeyError):
        mixture({"kind": "refer", "dataset": Buggy(5)}, max_bad_samples=5)[0]


def test_the_replacement_stays_in_its_source():
    """Red when the last item's replacement is the first of the next source, which may be of another kind."""
    data = mixture(
        {"kind": "refer", "dataset": Numbers(3, bad=(2,))},
        {"kind": "cycle", "dataset": Numbers(3)},
        max_bad_samples=1,
    )
    assert data[2].sample_id == "number 0"
    assert (data[2].kind, data[3].kind) == ("refer", "cycle")


def test_too_many_bad_samples_stop_the_run_and_name_the_last():
    data = mixture({"kind": "refer", "dataset": Numbers(9, bad=(2, 3))}, max_bad_samples=1)
    with pytest.raises(DataError, match=r"bad samples: 2, more than.*annotation 3.*raise max_bad_samples"):
        data[2]


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_count_together(workers: int, tmp_path: Path):
    """Red when each worker has a count of its own: 4 bad samples in 2 workers would pass a limit of 3."""
    report = tmp_path / "bad.jsonl"
    data = mixture({"kind": "refer", "dataset": Numbers(16, bad=(1, 4, 6, 11))}, max_bad_samples=4, report_file=report)
    loader = DataLoader(data, batch_size=2, num_workers=workers, collate_fn=collate_batch)
    ids = [name for batch in loader for name in batch["batch"].sample_ids]
    assert ids == [f"number {i}" for i in (0, 2, 2, 3, 5, 5, 7, 7, 8, 9, 10, 12, 12, 13, 14, 15)]
    assert data.counts()["bad"] == 4
    assert len({json.loads(line)["record"] for line in report.read_text().splitlines()}) == 4
    strict = mixture({"kind": "refer", "dataset": Numbers(16, bad=(1, 4, 6, 11))}, max_bad_samples=3)
    with pytest.raises(DataError, match="more than max_bad_samples=3"):
        list(DataLoader(strict, batch_size=2, num_workers=workers, collate_fn=collate_batch))


def test_regions_without_a_cell_never_reach_the_caption_side():
    """Red when a region of 0 cells is described (a prompt without region tokens), or counts as bad data."""
    for kind in ("cycle", "caption"):
        data = mixture({"kind": kind, "dataset": Numbers(4, tiny=(1, 2))})
        assert data[1].sample_id == "number 3"
        assert data.counts() == {"bad": 0, "too few region cells": 2, "no mask pixel": 0}
    kept = mixture({"kind": "refer", "dataset": Numbers(4, tiny=(1, 2))})
    assert kept[1].sample_id == "number 1"


def test_regions_of_few_cells_can_be_left_out():
    """Red when the limit is ignored, off by one, or asked of objects that are not described."""
    data = mixture({"kind": "cycle", "dataset": Numbers(2)}, min_region_cells=4)
    assert int(data[0].sides.caption_side.region.sum()) == 4
    with pytest.raises(DataError, match="too few region cells': 2"):
        mixture({"kind": "cycle", "dataset": Numbers(2)}, min_region_cells=5)[0]
    assert mixture({"kind": "refer", "dataset": Numbers(2)}, min_region_cells=5)[0].sample_id == "number 0"
    with pytest.raises(ConfigError, match="min_region_cells must be at least 1, got 0"):
        mixture({"kind": "cycle", "dataset": Numbers(2)}, min_region_cells=0)


class Thin(Numbers):
    """Item 0 is a line between the rows that the mask of the loss takes."""

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        if index == 0:
            sample.mask[:] = False
            sample.mask[0] = True
        return sample


def test_objects_that_vanish_at_the_size_of_the_loss_are_not_trained_on():
    """Red when an empty mask is a target: the model would learn to find nothing."""
    pooled = SampleTransform(16, 16, grid_size=4, mask_size=8, region_pooling="any")
    for kind, expected in (("cycle", 1), ("refer", 1), ("caption", 0)):
        data = MixtureDataset([{"kind": kind, "dataset": Thin(2)}], pooled)
        assert data[0].sample_id == f"number {expected}"
        assert data.counts() == {"bad": 0, "too few region cells": 0, "no mask pixel": expected}


def test_an_evaluation_replaces_no_object_for_its_size():
    """Red when small objects are scored as their neighbours, twice."""
    pooled = SampleTransform(16, 16, grid_size=4, mask_size=8)
    for kind in ("cycle", "refer", "caption"):
        data = MixtureDataset([{"kind": kind, "dataset": Thin(2)}], pooled, keep_gt_masks=True)
        assert [data[i].sample_id for i in (0, 1)] == ["number 0", "number 1"]
        assert not any(data.counts().values())


def test_a_source_without_any_usable_sample_is_an_error():
    """Red when the search for a replacement never ends."""
    with pytest.raises(DataError, match="no usable sample among 3"):
        mixture({"kind": "cycle", "dataset": Numbers(3, tiny=(0, 1, 2))})[0]


def test_the_cap_counts_samples_and_spreads_over_the_source():
    """Red when a cap keeps the first samples only, which are often of one picture."""
    data = mixture({"kind": "cycle", "dataset": Numbers(1000), "max_samples": 50})
    names = [int(data[i].sample_id.split()[1]) for i in range(len(data))]
    assert len(set(names)) == len(data) == 50
    assert max(names) > 800


def test_evaluation_keeps_the_mask_at_its_own_size():
    """Red when predictions are scored against the loss's small mask."""
    item = mixture({"kind": "refer", "dataset": Numbers(2)}, keep_gt_masks=True)[0]
    assert item.gt_mask is not None
    assert item.gt_mask.shape == (32, 32)
    batch = collate_batch([item, item])["batch"]
    assert len(batch.gt_masks) == 2
    assert batch.caption_side.pixel_values.shape == (2, 3, 16, 16)
    assert batch.caption_side.mask.dtype == torch.float32
    assert batch.mask_side is None


def test_mixed_frames_use_the_still_picture_as_its_own_second_side():
    """Red when one clip in a batch leaves the stills beside it without a mask side."""
    still, clip = (mixture({"kind": "cycle", "dataset": Numbers(2)})[i] for i in (0, 1))
    sides = clip.sides._replace(mask_side=clip.sides.caption_side._replace(mask=torch.zeros(8, 8)))
    batch = collate_batch([still, clip._replace(sides=sides)])["batch"]
    assert torch.equal(batch.mask_side.mask[0], batch.caption_side.mask[0])
    assert batch.mask_side.mask[1].sum() == 0


def test_kinds_are_never_mixed_in_a_batch():
    data = mixture({"kind": "refer", "dataset": Numbers(1)}, {"kind": "cycle", "dataset": Numbers(1)})
    with pytest.raises(DataError, match="cycle, refer"):
        collate_batch([data[0], data[1]])


def test_wrong_sources_name_the_nearest_known_word():
    with pytest.raises(ConfigError, match="Did you mean 'refer'"):
        mixture({"kind": "refers", "dataset": Numbers(1)})
    with pytest.raises(ConfigError, match="Did you mean 'weight'"):
        mixture({"kind": "refer", "dataset": Numbers(1), "weigth": 2})


def test_a_record_without_text_is_bad_where_text_is_needed():
    """Red when one forgotten text ends a run of days, or an empty one is trained on."""
    for text in (None, ""):
        assert mixture({"kind": "cycle", "dataset": Numbers(1, text=text)})[0].text == text
        for kind in ("refer", "caption"):
            with pytest.raises(DataError, match=f"no text, which a '{kind}' source needs"):
                mixture({"kind": kind, "dataset": Numbers(1, text=text)})[0]


class Crowded(Numbers):
    """Sample ``i`` has ``i`` other objects: columns from the left, 4 px wide; and one too small to see."""

    def others(self, index: int, sample: Sample) -> list[np.ndarray]:
        masks = [np.zeros((32, 32), bool) for _ in range(index + 1)]
        for number, mask in enumerate(masks[:index]):
            mask[:, 4 * number : 4 * number + 4] = True
        masks[index][0, 0] = True
        return masks


def test_other_objects_are_stacked_and_mirrored_with_their_picture():
    """Red when an object is lost or filled up with another, or stays where it was in a mirrored picture."""
    batches = []
    for share in (0.0, 1.0):
        data = mixture({"kind": "cycle", "dataset": Crowded(3, text=None)}, with_others=True, flip_share=share)
        batches.append(collate_batch([data[i] for i in range(3)])["batch"])
    others = batches[0].others
    assert (others.shape, others.dtype) == ((3, 2, 8, 8), torch.bool)
    assert others.flatten(2).sum(-1).tolist() == [[0, 0], [8, 0], [8, 8]]
    assert others[2, 1, :, 1].all()
    assert torch.equal(batches[1].others, others.flip(-1))


def test_other_objects_are_for_who_asks_and_of_who_knows_them():
    """Red when all pay for decoding them, expressions need them, or a source without them gives no objects silently."""
    plain = mixture({"kind": "cycle", "dataset": Crowded(3)})
    assert collate_batch([plain[2]])["batch"].others is None
    both = mixture({"kind": "cycle", "dataset": Crowded(3)}, {"kind": "refer", "dataset": Numbers(3)}, with_others=True)
    assert collate_batch([both[3]])["batch"].others is None
    with pytest.raises(ConfigError, match="the source Numbers does not know"):
        mixture({"kind": "cycle", "dataset": Numbers(3)}, with_others=True)


class Strays(Numbers):
    """Each mask lost a piece."""

    def __getitem__(self, index: int) -> Sample:
        return replace(super().__getitem__(index), strays=("polygon of 2 numbers",))


def test_a_mask_without_its_stray_piece_is_used_counted_and_named_once(tmp_path: Path):
    """Red when such a sample is bad, is used in silence, or is named at every visit."""
    report = tmp_path / "bad_samples.jsonl"
    data = mixture({"kind": "cycle", "dataset": Strays(3)}, report_file=report)
    for _ in range(2):
        assert data[1].sample_id == "number 1"
    assert not any(data.counts().values())
    assert data.counts_of_strays() == {"masks without their stray pieces": 1}
    (line,) = map(json.loads, report.read_text().splitlines())
    assert line["record"] == "number 1"
    assert line["reason"] == "used without stray pieces: polygon of 2 numbers"

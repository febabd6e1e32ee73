"""Real files through their adapters and through training: COCO photographs, SA-V masklets, human expressions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.registry import DATASETS

from sa2va_native.datasets.adapters.sav_pairs import SavPairs
from sa2va_native.datasets.adapters.sav_videos import SavVideos
from sa2va_native.datasets.mixture import MixtureDataset
from sa2va_native.datasets.transforms import SampleTransform
from sa2va_native.files.paths import ROOT
from sa2va_native.structures import Sample
from tests.ranks import call_tool, run_ranks
from tests.sa2va_native.datasets import real
from tests.sa2va_native.datasets.test_fuzz import check_sound
from tests.test_native_sets import RANKS, check_steps, iterations_until_all_drawn, report_of, train, weighed

pytestmark = [pytest.mark.realdata, pytest.mark.slow]
GRID, SHARE = 8, 0.05  #: of the tiny config
#: Masks of tiny_coco that are not crowds.
COCO = {"train2017": 465, "val2017": 377}
CONVERT = ROOT / "tools/prepare_data/sav_to_pairs.py"


@pytest.fixture(scope="module")
def sav(realdata_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return real.write_sav(realdata_root, tmp_path_factory.mktemp("real") / "sav")


@pytest.fixture(scope="module")
def pairs(sav: Path) -> tuple[Path, str]:
    """Folder of the converted pairs, and what the converter said."""
    out = sav.with_name("pairs")
    (ended,) = call_tool(CONVERT, sav, out, "--processes", 1)
    assert ended.status == 0, ended.output
    return out, ended.output


@pytest.fixture(scope="module")
def sources(realdata_root: Path, sav: Path, pairs: tuple[Path, str]) -> list[dict[str, Any]]:
    """All of them, by name."""
    coco = realdata_root / "tiny_coco"
    configs = {
        split: {
            "type": "CocoInstances",
            "ann_file": str(coco / f"annotations/instances_{split}.json"),
            "image_root": str(coco / split),
        }
        for split in COCO
    }
    configs["videos"] = {"type": SavVideos.__name__, "root": str(sav)}
    configs["pairs"] = {"type": SavPairs.__name__, "root": str(pairs[0])}
    masks = [{"kind": "cycle", "name": name, "dataset": config} for name, config in configs.items()]
    refer = real.write_refer(realdata_root, sav.with_name("refer"))
    return [*masks, {"kind": "refer", "name": "expressions", "dataset": refer}]


def samples_of(source: dict[str, Any]) -> Iterator[Sample]:
    dataset = DATASETS.build(dict(source["dataset"]))
    return (dataset[index] for index in range(len(dataset)))


def has_cell(mask: np.ndarray) -> bool:
    """Whether the object covers a twentieth of some cell of the grid; neighbouring cells share their border pixels."""
    rows, columns = ([(i * side // GRID, -(-(i + 1) * side // GRID)) for i in range(GRID)] for side in mask.shape)
    return any(mask[top:bottom, left:right].mean() >= SHARE for top, bottom in rows for left, right in columns)


def too_small(sample: Sample, kind: str, mask_size: int) -> str | None:
    """Why the object cannot be trained on, if so; a mask at the loss's size has the pixels at its squares' centres."""
    if kind != "refer" and not has_cell(sample.mask):
        return "too few region cells"
    mask = sample.mask if sample.mask2 is None else sample.mask2
    rows, columns = (((np.arange(mask_size) + 0.5) * side / mask_size).astype(int) for side in mask.shape)
    if kind != "caption" and not mask[np.ix_(rows, columns)].any():
        return "no mask pixel"
    return None


def test_no_real_record_is_bad(sources: list[dict[str, Any]], realdata_root: Path, tmp_path: Path) -> None:
    """Red when a real record is refused, or a region is lost for another reason than that its object is too small."""
    counts, expected = {}, set()
    for source in sources:
        counts[source["name"]] = 0
        for sample in samples_of(source):
            check_sound(sample)
            counts[source["name"]] += 1
            if why := too_small(sample, source["kind"], 16):
                expected.add((sample.sample_id, why))
    assert counts == {**COCO, "videos": 226, "pairs": 14, "expressions": 8}
    refer = next(source for source in sources if source["kind"] == "refer")
    written = [one["expression"] for one in real.expressions(realdata_root)]
    assert [sample.text for sample in samples_of(refer)] == written

    transform = SampleTransform(image_size=16, grounding_size=16, grid_size=GRID, mask_size=16)
    mixture = MixtureDataset(sources, transform, report_file=tmp_path / "bad_samples.jsonl")
    for index in range(len(mixture)):
        mixture[index]
    assert mixture.counts()["bad"] == 0
    assert sum(mixture.counts().values()) == len(expected)
    lines = [json.loads(line) for line in (tmp_path / "bad_samples.jsonl").read_text().splitlines()]
    assert {(line["record"], line["reason"]) for line in lines} == expected


def test_masks_of_a_video_lie_on_its_frames(sav: Path) -> None:
    """Red when the frame of a mask is not the fourth video frame for each annotated one."""
    videos = SavVideos(sav)
    for index in range(0, len(videos), 9):
        sample = videos[index]
        numbers = re.search(r"frames (\d+) and (\d+)", sample.sample_id)
        for number, image, mask in zip(
            numbers.groups(), (sample.image, sample.image2), (sample.mask, sample.mask2), strict=True
        ):
            assert image.shape == (*mask.shape, 3) == (848, 480, 3)
            assert np.abs(image.astype(float) - real.grey_level(4 * int(number))).max() < 1.5


def test_converted_pairs_are_what_the_videos_show(sav: Path, pairs: tuple[Path, str]) -> None:
    """One pair for each of 5 manual and 9 automatic masklets; red when one is lost, or differs from its video."""
    folder, said = pairs
    assert re.search(r"^14 pairs in ", said, re.MULTILINE), said
    assert "bad:" not in said
    assert (folder / "bad_samples.jsonl").read_text() == ""
    converted = {pair.sample_id: pair for pair in samples_of({"dataset": {"type": SavPairs.__name__, "root": folder}})}
    for sample in samples_of({"dataset": {"type": SavVideos.__name__, "root": sav}}):
        name = re.sub(r"\.json#masklet (\d+) frames (\d+) and (\d+)", r"/masklet_data_\1_\2_\3.npz", sample.sample_id)
        if pair := converted.pop(name, None):
            for part in ("image", "mask", "image2", "mask2"):
                np.testing.assert_array_equal(getattr(pair, part), getattr(sample, part))
    assert not converted


def test_real_sets_train_on_two_ranks(sources: list[dict[str, Any]], tmp_path: Path) -> None:
    """Red when a real set does not reach a training step, a record is bad, or an object with a cell is left out."""
    *masks, refer = sources
    chosen = weighed([*({**source, "max_samples": 24} for source in masks), refer, {**refer, "kind": "caption"}])
    expected, left_out = set(), set()
    for source in MixtureDataset(chosen, transform=None).sources:
        for sample in (source.dataset[int(item)] for item in source.items):
            if why := too_small(sample, source.kind, 32):
                left_out.add((sample.sample_id, why))
            else:
                expected.add((source.name, sample.sample_id))
    (tmp_path / "work").mkdir()
    arguments = (chosen, iterations_until_all_drawn(chosen), str(tmp_path / "work"), 0)
    ranks = run_ranks(RANKS, train, *arguments, timeout=500)
    check_steps(ranks)
    assert {sample for steps in ranks for step in steps for sample in step.samples} == expected
    assert "bad [0, 0]" in report_of(tmp_path / "work")
    lines = [json.loads(line) for line in (tmp_path / "work/bad_samples.jsonl").read_text().splitlines()]
    assert {(line["record"], line["reason"]) for line in lines} == left_out

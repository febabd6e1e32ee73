"""The gRefCOCO adapter: several targets, none, and refs that contradict themselves."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.registry import DATASETS

from sa2va_native.datasets.adapters.grefer import GeneralizedReferExpressions
from sa2va_native.datasets.check import Region, check_set, format_report
from sa2va_native.datasets.finding.find_sets import find_sets
from sa2va_native.datasets.mixture import MixtureDataset
from sa2va_native.datasets.transforms import SampleTransform
from sa2va_native.errors import BadSample, DataError
from tests.sa2va_native.datasets.adapters.test_coco import annotation, write

OTHER = [[10, 2, 14, 2, 14, 8, 10, 8]]
TRANSFORM = SampleTransform(image_size=32, grounding_size=32, grid_size=4, mask_size=16)


def gref(number: int, ann_id: Any, *sentences: str, image_id: int = 1, split: str = "val", **more: Any) -> dict:
    """A ref as ``grefs(unc).json`` has it."""
    texts = [{"sent_id": 10 * number + i, "sent": text} for i, text in enumerate(sentences or ["it"])]
    told = {"no_target": ann_id in ([], [-1]), "ref_id": number, "ann_id": ann_id, "image_id": image_id}
    return {**told, "split": split, "sentences": texts, **more}


def make(folder: Path, refs: list[dict], name: str = "grefs(unc).json") -> Path:
    if not folder.exists():
        write(folder, [annotation(1), annotation(2, segmentation=OTHER), annotation(3, image_id=4)])
    (folder / name).write_bytes(pickle.dumps(refs, protocol=2) if name.endswith(".p") else json.dumps(refs).encode())
    return folder


def test_masks_are_the_union_of_the_targets(tmp_path: Path) -> None:
    """Red when only the first target of an expression counts, or one without a target vanishes from the evaluation."""
    refs = [gref(1, [1, 2], "both", "the two"), gref(2, [-1], "the dog"), gref(3, [2]), gref(4, [], "a cat")]
    data = GeneralizedReferExpressions(make(tmp_path / "set", refs), "val")
    assert [sample.text for sample in data] == ["both", "the two", "the dog", "it", "a cat"]
    one, other = np.zeros((10, 20), bool), np.zeros((10, 20), bool)
    one[2:8, 2:8], other[2:8, 10:14] = True, True
    for sample, mask in zip(data, (one | other, one | other, one & other, other, one & other), strict=True):
        np.testing.assert_array_equal(sample.mask, mask)
        assert sample.image.shape == (10, 20, 3)
    assert data[2].sample_id == "grefs(unc).json#ref 2 sentence 20"


def test_refs_that_contradict_themselves_are_bad_samples(tmp_path: Path) -> None:
    """Red when a target of another picture is drawn on this one, or a fault makes a target of none."""
    faults = [
        (gref(1, [1, 3]), "ann_id 3 is an object of image 4, not of image_id 1"),
        (gref(2, [1, 9]), "ann_id 9 is not in"),
        (gref(3, [1], no_target=True), r"no_target is True and ann_id \[1\]"),
        (gref(4, [-1], no_target=False), r"no_target is False and ann_id \[-1\]"),
        (gref(5, 1), "ann_id 1 is no list"),
        (gref(6, [-1], image_id=9), "image_id 9 is not among the images"),
        (gref(7, [-1], " "), "empty text"),
        ({"ref_id": 8, "split": "val", "sentences": [{"sent": "it"}]}, "no 'ann_id'"),
    ]
    data = GeneralizedReferExpressions(make(tmp_path / "set", [one for one, _ in faults]), "val")
    for index, (_, reason) in enumerate(faults):
        with pytest.raises(BadSample, match=reason):
            data[index]


@pytest.mark.parametrize("content", ["", "{}", "[]", "[1]", '[{"ref_id": ', '[{"ref_id": 1' + 5000 * "0" + "}]"])
def test_a_broken_file_is_one_clear_error(tmp_path: Path, content: str) -> None:
    root = make(tmp_path / "set", [])
    (root / "grefs(unc).json").write_text(content)
    with pytest.raises(DataError, match=r"grefs\(unc\).json: "):
        GeneralizedReferExpressions(root, "val")


def test_files_and_splits_are_chosen_by_name(tmp_path: Path) -> None:
    root = make(tmp_path / "set", [gref(1, [1])])
    with pytest.raises(DataError, match=r"no sentences in split 'testA'\. It has: val"):
        GeneralizedReferExpressions(root, "testA")
    make(root, [gref(1, [2], "other")], "grefs(umd).json")
    with pytest.raises(DataError, match="Choose one with split_by"):
        GeneralizedReferExpressions(root, "val")
    assert GeneralizedReferExpressions(root, "val", split_by="umd")[0].text == "other"
    with pytest.raises(DataError, match=r"no grefs\(x\).json or grefs\(x\).p\. .*gRefCOCO's layout"):
        GeneralizedReferExpressions(root, "val", split_by="x")


def test_a_pickle_goes_before_the_json(tmp_path: Path) -> None:
    """The authors' code looks for it first. Red when it is not seen, and its folder is read as COCO without texts."""
    root = make(tmp_path / "set", [gref(1, [1, 2], "both"), gref(2, [-1], "the dog")], "grefs(unc).p")
    for _ in range(2):
        (found,) = find_sets(root)
        assert found.config["type"] == "GeneralizedReferExpressions"
        data = DATASETS.build(found.config)
        assert [sample.text for sample in data] == ["both", "the dog"]
        assert [sample.mask.any() for sample in data] == [True, False]
        make(root, [gref(1, [1], "of the json")])


def test_expressions_without_a_target_are_samples(tmp_path: Path) -> None:
    """Red when training drops them, or nothing that was described is trained or scored as described well."""
    data = GeneralizedReferExpressions(make(tmp_path / "set", [gref(1, [-1], "a dog"), gref(2, [1])]), "val")

    def mixture(kind: str, **options: Any) -> MixtureDataset:
        return MixtureDataset([{"kind": kind, "dataset": data}], TRANSFORM, **options)

    assert mixture("refer", keep_gt_masks=True)[0].text == "a dog"
    training = mixture("refer")
    assert [training[0].text, training[1].text] == ["a dog", "it"]
    assert [training[index].sides.caption_side.mask.any().item() for index in range(2)] == [False, True]
    assert not any(training.counts().values())
    for kind in ("cycle", "caption"):
        described = mixture(kind)
        assert described[0].text == "it"
        assert described.counts()["too few region cells"] == 1, "without a limit, as such a set may hold many"
        with pytest.raises(DataError, match=f"no target, which a '{kind}' source describes"):
            mixture(kind, keep_gt_masks=True)[0]


def test_the_check_counts_expressions_without_a_target(tmp_path: Path) -> None:
    """Red when they are told to be objects that are too small."""
    data = GeneralizedReferExpressions(make(tmp_path / "set", [gref(1, [-1]), gref(2, [1])]), "val")
    report = check_set(data, range(2), Region(grid_size=4))
    assert "without a target 1" in format_report(report, 2, Region(grid_size=4))
    assert (report.bad, report.too_few_cells["any"]) == (0, 0)

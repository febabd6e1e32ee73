"""The REFER adapter: every sentence, and no code from a pickle."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sa2va_native.datasets.adapters.refer import ReferExpressions
from sa2va_native.datasets.scenes.scene import make_scene
from sa2va_native.errors import BadSample, DataError
from tests.sa2va_native.datasets.adapters.test_coco import annotation, write


def make_refs(folder: Path, refs: Any, name: str = "refs(unc).p") -> Path:
    if not (folder / "instances.json").exists():
        write(folder, [annotation(1), annotation(2)])
    (folder / name).write_bytes(pickle.dumps(refs))
    return folder


def ref(number: int, *sentences: str, ann_id: int = 1, split: str = "train") -> dict[str, Any]:
    texts = [{"sent_id": 10 * number + i, "sent": text} for i, text in enumerate(sentences)]
    return {"ref_id": number, "ann_id": ann_id, "image_id": 1, "split": split, "sentences": texts}


def test_every_sentence_of_every_ref_is_an_item(tmp_path: Path):
    """Red when one expression an image (or a ref) is chosen at load."""
    refs = [ref(1, "left one", "the small one"), ref(2, "right one", ann_id=2), ref(3, "hidden", split="val")]
    data = ReferExpressions(make_refs(tmp_path, refs), "train")
    assert [sample.text for sample in data] == ["left one", "the small one", "right one"]
    assert data[1].sample_id == "refs(unc).p#ref 1 sentence 11"
    assert data[1].mask.sum() == 36


def test_splits_share_their_file(tmp_path: Path):
    """Red when the train, val, testA and testB of a run hold RefCOCO's json four times."""
    root = make_refs(tmp_path, [ref(1, "left one"), ref(2, "right one", split="val")])
    train, val = (ReferExpressions(root, split) for split in ("train", "val"))
    assert train.file is val.file
    assert ReferExpressions(root, "val", max_pixels=9).file is not val.file


def test_the_generated_scenes_read_back_every_expression(scene_root: Path):
    """Red when writer and reader disagree on any picture, mask, sentence or attribute."""
    for split, size, name in (("labelled", 12, "train"), ("test", 4, "test"), ("test_heldout", 6, "test")):
        data = iter(ReferExpressions(scene_root / split, name))
        for index in range(size):
            scene = make_scene(5, split, index, side=96)
            frame = scene.render()
            for target in scene.targets:
                for expression in scene.expressions[target]:
                    sample = next(data)
                    assert sample.text == expression
                    assert sample.attributes == scene.objects[target].attributes
                    np.testing.assert_array_equal(sample.image, frame.image)
                    np.testing.assert_array_equal(sample.mask, frame.masks[target])
        with pytest.raises((StopIteration, IndexError)):
            next(data)


class Malicious:
    """What a stranger's pickle may hold."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path):
    """Red when refs are read with plain pickle.load: the folder would be made."""
    root = make_refs(tmp_path / "data", [Malicious(tmp_path / "trace")])
    with pytest.raises(DataError, match="mkdir"):
        ReferExpressions(root, "train")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("content", [b"", b"junk", b"\x80\x04", pickle.dumps({"a": 1}), pickle.dumps([])])
def test_a_broken_pickle_is_one_clear_error(tmp_path: Path, content: bytes):
    root = make_refs(tmp_path, [ref(1, "a")])
    (root / "refs(unc).p").write_bytes(content)
    with pytest.raises(DataError, match=r"refs\(unc\).p"):
        ReferExpressions(root, "train")


def test_unusable_roots_name_path_and_remedy(tmp_path: Path):
    with pytest.raises(DataError, match=r"nowhere: no such folder.*REFER layout"):
        ReferExpressions(tmp_path / "nowhere", "train")
    root = make_refs(tmp_path / "a", [ref(1, "a")])
    with pytest.raises(DataError, match=r"no sentences in split 'testA'\. It has: train"):
        ReferExpressions(root, "testA")
    make_refs(root, [ref(1, "b")], name="refs(google).p")
    with pytest.raises(DataError, match="Choose one with split_by"):
        ReferExpressions(root, "train")
    assert ReferExpressions(root, "train", split_by="google")[0].text == "b"
    with pytest.raises(DataError, match=r"no refs\(umd\).p"):
        ReferExpressions(root, "train", split_by="umd")


def test_a_dangling_ref_and_an_empty_sentence_are_bad_samples(tmp_path: Path):
    data = ReferExpressions(make_refs(tmp_path, [ref(1, "gone", ann_id=99), ref(2, "  ")]), "train")
    with pytest.raises(BadSample, match="ref 1 sentence 10: ann_id 99 is not in"):
        data[0]
    with pytest.raises(BadSample, match="empty text"):
        data[1]


def test_malformed_refs_are_bad_samples(tmp_path: Path):
    """Red when a ref that lacks a key stops the run with a KeyError, or vanishes."""
    good = ref(1, "left one")
    refs = [good, {**good, "sentences": []}, {"sentences": good["sentences"]}, {**good, "sentences": ["left one"]}]
    refs.append({**good, "sentences": [{"sent_id": 3, "sent": 5}]})
    data = ReferExpressions(make_refs(tmp_path, refs), "train")
    assert len(data) == 5
    assert data[0].text == "left one"
    for index, reason in enumerate(("text is a NoneType", "no 'ref_id'", "text is a NoneType", "text is a int"), 1):
        with pytest.raises(BadSample, match=reason):
            data[index]


def test_a_pickle_that_asks_for_gigabytes_is_refused(tmp_path: Path):
    """Red when 20 bytes make the unpickler reserve a list of 2**29 places (4 GB)."""
    root = make_refs(tmp_path, [ref(1, "a")])
    (root / "refs(unc).p").write_bytes(b"\x80\x02]r\xff\xff\xff\x1f}a.")
    with pytest.raises(DataError, match=r"refs\(unc\).p: refused .* memo index 536870911"):
        ReferExpressions(root, "train")


@pytest.mark.parametrize("key", ["ref_id", "ann_id", "split"])
def test_numbers_that_cannot_be_shown_are_refused(tmp_path: Path, key: str):
    """Red when an error about a number of 5,000 digits is an error of its own."""
    with pytest.raises(DataError, match=r"refs\(unc\).p: a ref that is not plain data .*4300 digits"):
        ReferExpressions(make_refs(tmp_path, [{**ref(1, "left one"), key: 10**5000}]), "train")


def test_lists_in_lists_are_refused(tmp_path: Path):
    content = b"(lp0\n" + b"(dp1\nS'a'\n" + b"(l" * 3000 + b"a" * 2999 + b"sa."
    root = make_refs(tmp_path, [])
    (root / "refs(unc).p").write_bytes(content)
    with pytest.raises(DataError, match="a ref that is not plain data"):
        ReferExpressions(root, "train")


def test_a_split_without_sentences_names_those_that_there_are(tmp_path: Path):
    """Red when the names cannot be printed."""
    with pytest.raises(DataError, match=r"no sentences in split 'train'. It has: \\ud800, val") as error:
        ReferExpressions(make_refs(tmp_path, [ref(1, "x", split="val"), ref(2, "x", split="\ud800")]), "train")
    str(error.value).encode()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_is_read(tmp_path: Path, protocol: int):
    """Red when the check of the memo refuses a sound pickle: the published files are of protocols 0 and 2."""
    root = make_refs(tmp_path, [])
    refs = [ref(number, "left one", "right one") for number in range(300)]
    (root / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol))
    assert len(ReferExpressions(root, "train")) == 600


def test_an_expression_for_several_objects_or_none_is_named(tmp_path: Path):
    """Red when gRefCOCO's lists of ann_ids are told to be missing from instances.json, which has them."""
    refs = [{**ref(n, "both"), "ann_id": ids} for n, ids in enumerate(([1], [-1], [1, 2]))]
    data = ReferExpressions(make_refs(tmp_path, refs), "train")
    for index in range(len(data)):
        with pytest.raises(BadSample, match=r"ann_id \[.*\] is a list \(several targets or none, as in gRefCOCO\)"):
            data[index]

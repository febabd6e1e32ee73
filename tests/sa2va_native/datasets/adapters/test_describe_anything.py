"""Describe Anything: captions and masks of the json, pictures of the shards, and faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sa2va_native.datasets.adapters import describe_anything
from sa2va_native.datasets.adapters.describe_anything import DescribeAnything
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.errors import BadSample, DataError
from tests.sa2va_native.datasets.native import box, jpeg, picture, write_describe_anything, write_tar


def test_each_mask_has_its_caption_and_picture(tmp_path: Path):
    """Red when one mask of a sample is taken for all, or captions, masks and pictures are paired wrongly: ``b`` has two
    frames, of which the first is annotated.
    """
    data = DescribeAnything(write_describe_anything(tmp_path), "SAM")
    samples = [data[i] for i in range(len(data))]
    assert [sample.sample_id for sample in samples] == [
        "SAM/annotations.json#'a' mask 0",
        "SAM/annotations.json#'a' mask 1",
        "SAM/annotations.json#'b' mask 0",
    ]
    assert [sample.text for sample in samples] == [
        "A grey box.",
        "A wide box,\nlow in the picture.",
        "A box in the corner.",
    ]
    for sample, mask, seed in zip(samples, (box(2, 3), box(5, 8, 15, 20), box(0, 0)), (1, 1, 2), strict=True):
        np.testing.assert_array_equal(sample.mask, mask)
        np.testing.assert_allclose(sample.image.astype(int), picture(seed), atol=4)


def test_a_set_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Red when every start of a run reads the json and lists the shards, or a new shard is not noticed."""
    listed = []
    monkeypatch.setattr(
        describe_anything,
        "list_shard",
        lambda path, list_=describe_anything.list_shard: listed.append(path.name) or list_(path),
    )
    root = write_describe_anything(tmp_path, c={"caption": "A box.", "mask_rle": encode_mask(box(1, 1))})
    for _ in range(2):
        data = DescribeAnything(root, "SAM")
    assert listed == ["00000000.tar", "00000001.tar"]
    with pytest.raises(BadSample, match=r"'c' mask 0: missing: no picture for it in .*images"):
        data[3]
    write_tar(root / "SAM/images/00000002.tar", {"c.jpg": jpeg(picture(4)), "a.jpg": jpeg(picture(5))})
    data = DescribeAnything(root, "SAM")
    np.testing.assert_allclose(data[3].image.astype(int), picture(4), atol=4)
    np.testing.assert_allclose(data[0].image.astype(int), picture(1), atol=4)
    assert data.index.dropped == {"pictures that an earlier shard already contains": 1}


MASK = encode_mask(box(2, 3))
FAULTS = {
    "no object": ("text", "a str, expected a caption and a mask_rle"),
    "no caption": ({"mask_rle": MASK}, "text is a NoneType"),
    "empty caption": ({"caption": " ", "mask_rle": MASK}, "empty text"),
    "half a character": ({"caption": "\ud800", "mask_rle": MASK}, "text that is not valid Unicode"),
    "no mask": ({"caption": "A box."}, "no segmentation"),
    "mask of another size": (
        {"caption": "A box.", "mask_rle": encode_mask(box(1, 1, size=(20, 20)))},
        "picture of 32 x 24 px .* annotated as 20 x 20",
    ),
    "mask cut off": ({"caption": "A box.", "mask_rle": {**MASK, "counts": MASK["counts"][:-1] + "\x7f"}}, "RLE counts"),
}


@pytest.mark.parametrize(("entry", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_record_is_a_bad_sample(tmp_path: Path, entry: Any, reason: str):
    """Red when a fault stops the build, or takes the mask beside it along."""
    good = {"caption": "A box.", "mask_rle": MASK}
    data = DescribeAnything(write_describe_anything(tmp_path, a=[entry, good]), "SAM")
    with pytest.raises(BadSample, match=rf"SAM/.*: 'a' mask 0: {reason}"):
        data[0]
    assert data[1].text == "A box."


def test_samples_of_one_id_are_counted(tmp_path: Path):
    """Red when the first of two captions is lost without a word."""
    root = write_describe_anything(tmp_path)
    file = root / "SAM/annotations.json"
    file.write_text(file.read_text()[:-1] + f', "b": {json.dumps({"caption": "Again.", "mask_rle": MASK})}}}')
    data = DescribeAnything(root, "SAM")
    assert data.index.dropped == {"keys repeated in their object": 1}
    assert data[2].text == "Again."


def test_a_shard_that_is_cut_off(tmp_path: Path):
    """Red when the loss of a shard is not told, once for itself and once for each of its masks."""
    root = write_describe_anything(tmp_path)
    shard = root / "SAM/images/00000000.tar"
    shard.write_bytes(shard.read_bytes()[:100])
    data, reasons = DescribeAnything(root, "SAM"), []
    assert (len(data), data.index.bad) == (4, 3)
    for index in range(3):
        with pytest.raises(BadSample) as caught:
            data[index]
        reasons.append(caught.value.reason.split(" ")[0])
    assert reasons == ["not", "missing:", "missing:"]
    assert data[3].text == "A box in the corner."


def test_a_set_that_cannot_be_used_is_one_error(tmp_path: Path):
    root = write_describe_anything(tmp_path)
    path = root / "SAM/annotations.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(
        DataError, match=r"annotations.json: not JSON .* Download it again. Expected .*annotations.json"
    ):
        DescribeAnything(root, "SAM")
    path.write_text("{}")
    with pytest.raises(DataError, match=r"no record is left .* Expected .*annotations.json"):
        DescribeAnything(root, "SAM")
    path.unlink()
    with pytest.raises(DataError, match=r"annotations.json: no such file"):
        DescribeAnything(root, "SAM")
    with pytest.raises(DataError, match=r"nothing.images: no such folder. Expected"):
        DescribeAnything(root, "nothing")

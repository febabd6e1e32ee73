"""Segmentations against pycocotools and against masks that are known exactly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from sa2va_native.datasets.reading.mask_codec import (
    MaskError,
    decode_mask,
    decode_pieces,
    encode_mask,
    has_mask,
    mask_area,
)


def random_mask(seed: int, shape: tuple[int, int] = (23, 41)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < 0.3


@pytest.mark.parametrize("seed", range(5))
def test_compressed_rle_round_trip_through_json(seed: int):
    """Red when rows and columns are swapped (RLE runs down columns), or counts stay bytes (no JSON)."""
    mask = random_mask(seed)
    segmentation = json.loads(json.dumps(encode_mask(mask)))
    np.testing.assert_array_equal(decode_mask(segmentation, *mask.shape), mask)


def test_uncompressed_rle_is_read_as_crowds_are_written():
    """Red when the first run is taken for foreground. Here, down the columns: 2 off, 3 on, 1 off."""
    mask = decode_mask({"size": [3, 2], "counts": [2, 3, 1]}, 3, 2)
    np.testing.assert_array_equal(mask, [[False, True], [False, True], [True, False]])


def test_polygons_are_united():
    """Red when only the first polygon of an object in several parts is used."""
    left, right = [2, 2, 8, 2, 8, 8, 2, 8], [20, 2, 30, 2, 30, 8, 20, 8]
    mask = decode_mask([left, right], 12, 40)
    expected = np.zeros((12, 40), bool)
    expected[2:8, 2:8] = expected[2:8, 20:30] = True
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        (None, "no segmentation"),
        ([], "no segmentation"),
        ([[1, 1, 5, 5]], "at least 3 points"),  # pycocotools would read a box
        ([[1, 1, 5, 5, 5]], "at least 3 points"),
        ([[1, 1, 5, 5, 1, 5, 2]], "at least 3 points"),
        ([[1, 1, float("nan"), 5, 1, 5]], "not finite"),
        ([[-9, -9, -2, -9, -2, -2]], "entirely outside"),
        ([[50, 1, 60, 1, 60, 5]], "entirely outside"),
        ([[1.0, 1.0, 1.1, 1.0, 1.1, 1.1]], "empty mask"),
        ({"size": [10, 21], "counts": [0, 210]}, "of size"),
        ({"size": [10, 20], "counts": [0, 199]}, "add up"),
        ({"size": [10, 20], "counts": [200]}, "empty mask"),
        ({"size": [10, 20], "counts": 7}, "counts are"),
        ({"size": 10, "counts": [0, 200]}, "of size 10"),
        ({"size": [10, 20], "counts": "0P"}, "truncated"),  # its last number goes on: pycocotools would read on
        ({"size": [10, 20], "counts": "é"}, "cannot be decoded"),
        ({"size": [10, 20], "counts": ""}, "cannot be decoded"),
        ([[1, 1, "5", 5, 1, 5]], "not a number"),
        ([[[1, 1, 5, 1, 5, 5]]], r"not a number \(\[1, 1, 5, 1, 5, 5\]\)"),  # a list too many, no polygon of 1 number
        ([[{"x": 1, "y": 1}, {"x": 5, "y": 1}]], r"not a number \(\{'x': 1, 'y': 1\}\)"),
        ([[1, 1, 10**400, 5, 1, 5]], "not finite"),
        ([[1, 1, 1e9, 5, 1, 5]], "outline of 2e\\+09 px"),  # pycocotools would take 100 GB
        ("yes", "neither"),
    ],
)
def test_unusable_segmentations_say_why(segmentation: object, reason: str):
    """Red when a broken record becomes a silent empty or wrong mask."""
    with pytest.raises(MaskError, match=reason):
        decode_mask(segmentation, 10, 20)


def test_a_cut_rle_is_refused_wherever_it_is_cut():
    """Red when pycocotools fills what the runs leave with whatever lies in memory."""
    generator = np.random.default_rng(0)
    for side in (5, 40, 300):
        mask = generator.random((side, side + 3)) > generator.random()
        code = encode_mask(mask)["counts"]
        assert (decode_mask({"size": [side, side + 3], "counts": code}, side, side + 3) == mask).all()
        for end in generator.choice(len(code), min(len(code), 300), replace=False):
            with pytest.raises(MaskError, match=r"truncated|do not add up"):
                decode_mask({"size": [side, side + 3], "counts": code[:end] or "k"}, side, side + 3)


@pytest.mark.parametrize(("code", "reason"), [("o" * 13 + "0", "longer than any picture"), ("5N00", "do not add up")])
def test_senseless_runs_are_refused(code: str, reason: str):
    """Red when a run below zero, or one that overflows, reaches the decoder."""
    with pytest.raises(MaskError, match=reason):
        decode_mask({"size": [1, 3], "counts": code}, 1, 3)


def test_a_polygon_partly_outside_is_kept():
    """Red when clipping is taken for an error: people's polygons often touch the border by a fraction."""
    mask = decode_mask([[-5, -5, 5, -5, 5, 5, -5, 5]], 10, 20)
    assert mask.sum() == 25


@pytest.mark.realdata
def test_every_real_annotation_equals_pycocotools(realdata_root: Path):
    """Red when a polygon, an object in parts or a crowd is decoded differently from COCO's own code."""
    crowds = 0
    for split in ("train2017", "val2017"):
        coco = COCO(realdata_root / f"tiny_coco/annotations/instances_{split}.json")
        for annotation in coco.anns.values():
            image = coco.imgs[annotation["image_id"]]
            mask = decode_mask(annotation["segmentation"], image["height"], image["width"])
            np.testing.assert_array_equal(mask, coco.annToMask(annotation).astype(bool))
            assert coco_mask.area(coco_mask.encode(np.asfortranarray(mask))) == mask.sum()
            crowds += annotation["iscrowd"]
    assert crowds == 10


@pytest.mark.parametrize("size", [[10**9, 10**9], [2**63, 4], [2**70, 4]], ids=str)
def test_the_area_of_a_senseless_size_is_refused(size: list[int]):
    """Red when numbers above those of pycocotools end the run."""
    with pytest.raises(MaskError, match="RLE of size"):
        mask_area({"size": size, "counts": [size[0] * size[1]]}, *size)


LEFT, RIGHT = [2, 2, 8, 2, 8, 8, 2, 8], [12, 2, 18, 2, 18, 8, 12, 8]


def boxes(*lefts: int) -> np.ndarray:
    """bool (10, 20): squares of side 6 at these columns."""
    mask = np.zeros((10, 20), bool)
    for left in lefts:
        mask[2:8, left : left + 6] = True
    return mask


def runs_of(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, the first of them outside the object."""
    column = mask.T.ravel()
    ends = np.flatnonzero(np.diff(column)) + 1
    return np.diff([0, *ends, column.size]).tolist()


@pytest.mark.parametrize(
    ("segmentation", "lefts"),
    [
        ([LEFT, RIGHT], (2, 12)),
        (LEFT, (2,)),
        ([[x, y] for x, y in zip(LEFT[::2], LEFT[1::2], strict=True)], (2,)),
        ([[[x, y] for x, y in zip(part[::2], part[1::2], strict=True)] for part in (LEFT, RIGHT)], (2, 12)),
        ([encode_mask(boxes(2)), encode_mask(boxes(12))], (2, 12)),
        ([encode_mask(boxes(2)), RIGHT], (2, 12)),
        ([LEFT, []], (2,)),
        ([None, LEFT, {}], (2,)),
        ({"size": [10.0, "20"], "counts": runs_of(boxes(2))}, (2,)),
        ({"size": [10, 20], "counts": [float(run) for run in runs_of(boxes(2))]}, (2,)),
        ({"size": [10, 20], "counts": [str(run) for run in runs_of(boxes(2))]}, (2,)),
        ({"size": [10, 20], "counts": " ".join(map(str, runs_of(boxes(2))))}, (2,)),
        ({"size": [10, 20], "counts": str(runs_of(boxes(2)))}, (2,)),
        ({"size": [10, 20], "counts": str(encode_mask(boxes(2))["counts"].encode())}, (2,)),
    ],
    ids=["polygons", "flat", "pairs", "nested pairs", "RLEs", "RLE and polygon", "empty piece", "null piece",
         "size as float and text", "floats", "texts", "runs as text", "list as text", "bytes as text"],
)  # fmt: skip
def test_every_form_that_tools_write_is_the_same_mask(segmentation: object, lefts: tuple[int, ...]):
    """Red when a form is refused, or read as another: pairs as polygons of 2 numbers, the first RLE alone."""
    decoded = decode_pieces(segmentation, 10, 20)
    np.testing.assert_array_equal(decoded.mask, boxes(*lefts))
    assert decoded.strays == ()


@pytest.mark.parametrize(
    ("stray", "reason"),
    [
        ([10, 10], "polygon of 2 numbers"),
        ([1250, 510, 1250, 515], "polygon of 4 numbers"),
        ([50, 1, 60, 1, 60, 5], "entirely outside"),
        ([1, 1, float("nan"), 5, 1, 5], "not finite"),
        ([1, 1, "5", 5, 1, 5], "not a number ('5')"),
        ([1, 1, 1e9, 5, 1, 5], "outline of 2e+09 px"),
        ({"size": [3, 3], "counts": [0, 9]}, "RLE of size [3, 3]"),
        ({"x": 1}, "an object of x"),
        ("here", "but a str"),
        (7, "but a int"),
    ],
)
def test_a_stray_piece_does_not_cost_the_object(stray: object, reason: str):
    """Red when a sound piece is thrown away with a broken one, or the broken one is not told."""
    for pieces in ([LEFT, stray], [stray, LEFT]):
        mask, strays = decode_pieces(pieces, 10, 20)
        np.testing.assert_array_equal(mask, boxes(2))
        assert len(strays) == 1
        assert reason in strays[0]


def test_pieces_without_end_are_refused_at_once():
    """Red when pycocotools unites a hundred thousand pieces, in a time that grows with their square."""
    with pytest.raises(MaskError, match="100000 pieces, above 10000"):
        decode_mask([LEFT] * 100_000, 10, 20)


@pytest.mark.parametrize("nothing", [None, [], [[]], [[], []], "", {}, [None]])
def test_empty_pieces_are_no_mask(nothing: object):
    """Red when ``[[]]`` is a broken polygon and ``[]`` is none."""
    assert not has_mask(nothing)
    with pytest.raises(MaskError, match="no segmentation"):
        decode_mask(nothing, 10, 20)
    assert has_mask([0, 0, 0, 0, 0, 0])

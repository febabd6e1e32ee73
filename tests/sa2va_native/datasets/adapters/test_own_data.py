"""People's own data: records read on demand, each fault named by its line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sa2va_native.datasets.adapters.own_data import OwnData
from sa2va_native.datasets.reading.json_lines import JsonLines
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.errors import BadSample, DataError

SQUARE = [[2, 2, 8, 2, 8, 8, 2, 8]]
MASK = np.zeros((10, 20), bool)
MASK[2:8, 2:8] = True


def make(root: Path, *records: Any, name: str = "data.jsonl") -> Path:
    """Pictures, a mask file, and the records."""
    Image.new("RGB", (20, 10), (9, 8, 7)).save(root / "a.png")
    Image.new("RGB", (20, 10), (1, 2, 3)).save(root / "b.png")
    Image.fromarray(MASK).save(root / "mask.png")
    Image.fromarray(MASK.T).save(root / "turned.png")
    (root / name).write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return root / name


@pytest.mark.parametrize("mask", [SQUARE, encode_mask(MASK), "mask.png"], ids=["polygon", "rle", "png"])
def test_the_three_forms_of_a_mask_are_the_same(tmp_path: Path, mask: Any):
    sample = OwnData(
        make(tmp_path, {"image": "a.png", "mask": mask, "camera": "left", "idx": 3, "task": 1, "image_id": 4})
    )[0]
    assert (sample.image == [9, 8, 7]).all()
    np.testing.assert_array_equal(sample.mask, MASK)
    assert (sample.text, sample.image2, sample.mask2) == (None, None, None)
    assert sample.sample_id == "data.jsonl#line 1"


def test_text_id_and_second_frame(tmp_path: Path):
    record = {"image": "a.png", "mask": SQUARE, "text": "the box", "image2": "b.png", "mask2": "mask.png", "id": "k7"}
    sample = OwnData(make(tmp_path, record))[0]
    assert (sample.text, sample.sample_id) == ("the box", "data.jsonl#line 1 id k7")
    assert sample.image2 is not None
    assert (sample.image2 == [1, 2, 3]).all()
    np.testing.assert_array_equal(sample.mask2, MASK)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"mask": SQUARE}, r"data.jsonl: line 2: no 'image'"),
        ({"image": "a.png"}, r"data.jsonl: line 2: no 'mask'"),
        ({"imge": "a.png", "mask": SQUARE}, r"line 2: unknown key 'imge'. Did you mean 'image'\?"),
        ({"image": "a.png", "mask": SQUARE, "maks2": SQUARE}, r"line 2: unknown key 'maks2'. Did you mean 'mask2'\?"),
        ({"image": "a.png", "mask": SQUARE, "Text": "a"}, r"line 2: unknown key 'Text'. Did you mean 'text'\?"),
        ({"image": "a.png", "mask": SQUARE, "image2": "b.png"}, r"line 2: no 'mask2'"),
        ({"image": "a.png", "mask": SQUARE, "mask2": SQUARE}, r"line 2: no 'image2'"),
        ({"image": "a.png", "mask": SQUARE, "text": " "}, r"line 2: empty text"),
        ({"image": "a.png", "mask": SQUARE, "text": 7}, r"line 2: text is a int"),
        ({"image": "../a.png", "mask": SQUARE}, r"\.\./a.png: line 2: missing: no such file"),
        ({"image": "gone.png", "mask": SQUARE}, r"gone.png: line 2: missing: no such file"),
        ({"image": "a.png", "mask": "gone.png"}, r"gone.png: line 2: missing: no such file"),
        ({"image": "a.png", "mask": "a.png"}, None),  # every pixel is one colour: a mask
        ({"image": "a.png", "mask": "turned.png"}, r"a.png: line 2: picture of 20 x 10 px .*annotated as 10 x 20 px"),
        ({"image": "a.png", "mask": encode_mask(MASK.T)}, r"picture of 20 x 10 px .*annotated as 10 x 20 px"),
        ({"image": "a.png", "mask": [[1, 1, 2, 2]]}, r"data.jsonl: line 2: polygon of 4 numbers"),
        ({"image": "a.png", "mask": [[-9, -9, -2, -9, -2, -2]]}, r"line 2: mask entirely outside"),
        ({"image": "a.png", "mask": {"size": [10, 20]}}, r"line 2: RLE counts are a NoneType"),
        ({"image": "a.png", "mask": 3}, r"line 2: segmentation is neither"),
        ([1], r"line 2: a list, expected a JSON object"),
    ],
)  # fmt: skip
def test_a_bad_record_names_file_and_line(tmp_path: Path, record: Any, reason: str | None):
    """Red when a fault is swallowed, is another exception, or cannot be found by its line."""
    data = OwnData(make(tmp_path, {"image": "a.png", "mask": SQUARE}, record))
    if reason is None:
        assert data[1].mask.all()
        return
    with pytest.raises(BadSample, match=reason):
        data[1]


def test_a_mask_drawn_on_the_turned_picture_turns_it(tmp_path: Path):
    """Red when a phone's picture and the mask of its shown orientation come apart."""
    path = make(tmp_path, {"image": "phone.jpg", "mask": "turned.png"})
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10), (9, 8, 7)).save(tmp_path / "phone.jpg", exif=exif)
    sample = OwnData(path)[0]
    assert sample.image.shape == (20, 10, 3)
    np.testing.assert_array_equal(sample.mask, MASK.T)


def test_a_set_with_text_required_refuses_records_without(tmp_path: Path):
    data = OwnData(make(tmp_path, {"image": "a.png", "mask": SQUARE}), text_required=True)
    with pytest.raises(BadSample, match="line 1: text is a NoneType"):
        data[0]


def test_records_are_known_by_line_through_blank_ones_and_carriage_returns(tmp_path: Path):
    """Red when blank lines shift the names, or the last line is lost for want of a line end."""
    path = make(tmp_path)
    line = json.dumps({"image": "a.png", "mask": SQUARE}).encode()
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n\r\n\n" + line + b"\n{}\n" + line)
    data = OwnData(path)
    assert len(data) == 4
    assert [data[i].sample_id for i in (0, 1, 3)] == [f"data.jsonl#line {n}" for n in (1, 4, 6)]
    with pytest.raises(BadSample, match="line 5: no 'image'"):
        data[2]


def test_a_list_is_read_alike(tmp_path: Path):
    path = make(tmp_path)
    path.write_text(json.dumps([{"image": "a.png", "mask": SQUARE}] * 2, indent=1))
    assert [sample.sample_id for sample in OwnData(path)] == ["data.jsonl#record 1", "data.jsonl#record 2"]


def test_a_cut_line_is_one_bad_sample(tmp_path: Path):
    """Red when a copy that stopped half-way hides all the records before it."""
    path = make(tmp_path, *[{"image": "a.png", "mask": SQUARE}] * 3)
    path.write_bytes(path.read_bytes()[:-20])
    data = OwnData(path)
    assert data[1].mask.any()
    with pytest.raises(BadSample, match=r"line 3: not JSON .*is it truncated\?"):
        data[2]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"[", b"[]"])
def test_a_file_without_records_is_refused(tmp_path: Path, content: bytes):
    path = make(tmp_path)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r'data.jsonl: .*Expected one record per line, e.g. {"image"'):
        OwnData(path)
    with pytest.raises(DataError, match=r"nowhere.jsonl: no such file"):
        OwnData(tmp_path / "nowhere.jsonl")


def test_opening_parses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Red when a million lines become a million Python objects, or a pickled copy for a worker carries them."""
    path = tmp_path / "data.jsonl"
    line = '{"image": "a.png", "mask": [[2, 2, 8, 2, 8, 8]], "id": %d}\n'
    path.write_text("".join(line % number for number in range(200_000)))
    monkeypatch.setattr("json.loads", lambda _: pytest.fail("a record was parsed"))
    lines = JsonLines(path, "")
    monkeypatch.undo()
    assert len(lines) == 200_000
    assert lines[123_456]["id"] == 123_456
    assert len(pickle.dumps(lines)) < 13 * 200_000
    monkeypatch.setattr("sa2va_native.datasets.reading.json_lines._CHUNK", 1000)
    assert [JsonLines(path, "")[i]["id"] for i in (0, 17, 18, 19, 199_999)] == [0, 17, 18, 19, 199_999]


def test_a_stray_piece_of_either_frame_is_told(tmp_path: Path):
    """Red when a piece that is no polygon costs the object, or is left out in silence."""
    record = {"image": "a.png", "mask": [*SQUARE, [1, 1]], "image2": "b.png", "mask2": [[2, 2, 3, 3], *SQUARE]}
    sample = OwnData(make(tmp_path, record))[0]
    np.testing.assert_array_equal(sample.mask, MASK)
    np.testing.assert_array_equal(sample.mask2, MASK)
    assert [stray[:20] for stray in sample.strays] == ["polygon of 2 numbers", "polygon of 4 numbers"]


def test_a_text_under_another_key_is_counted(tmp_path: Path):
    """Red when captions under a key that own data does not have are ignored in silence."""
    good = {"image": "a.png", "mask": SQUARE}
    data = OwnData(make(tmp_path, {**good, "caption": "a"}, {**good, "caption": "b"}, {**good, "text": "c"}, good))
    assert data.check_all() == ["2 records have a 'caption', which is not read; the key of a text is 'text'"]


def test_a_list_of_texts_is_an_item_each(tmp_path: Path):
    """Red when several expressions of one object need several lines, shift later records, or one is nothing."""
    mug = {"image": "a.png", "mask": SQUARE, "text": ["the mug", "the left one"]}
    data = OwnData(make(tmp_path, mug, {"image": "b.png", "mask": SQUARE}, [1], {**mug, "text": [" ", 7, None]}, mug))
    assert len(data) == 9
    texts = [data[0].text, data[1].text, data[2].text, data[7].text, data[8].text]
    assert texts == ["the mug", "the left one", None, "the mug", "the left one"]
    assert [data[index].sample_id for index in (1, 2, 8)] == [
        f"data.jsonl#{name}" for name in ("line 1 text 2", "line 2", "line 5 text 2")
    ]
    assert data.pictures([0, 1, 2]) == [("a.png", None), ("a.png", None), ("b.png", None)]
    assert [data.picture_name(index) for index in (1, 2, 3)] == ["a.png", "b.png", None]
    for index, reason in enumerate(
        ("line 3: a list", "text 1: empty text", "text 2: text is a", "text 3: text is a"), 3
    ):
        with pytest.raises(BadSample, match=reason):
            data[index]
    for texts in ([], {}):
        with pytest.raises(BadSample, match=r"text is a (list|dict), expected a string"):
            OwnData(make(tmp_path, {**mug, "text": texts}))[0]


def test_a_text_without_a_target_has_an_empty_mask(tmp_path: Path):
    """Red when an expression that means nothing cannot be said, or a lost mask or a box passes for one."""
    nothing = {"image": "a.png", "mask": None, "text": "the cat"}
    sample = OwnData(make(tmp_path, nothing))[0]
    assert (sample.text, sample.mask.shape, sample.mask.any()) == ("the cat", (10, 20), False)
    for record, reason in [
        ({"image": "a.png", "text": "the cat"}, "no 'mask'$"),
        ({"image": "a.png", "mask": None}, "no 'mask'$"),
        ({**nothing, "mask": []}, "no segmentation"),
        ({**nothing, "bbox": [1, 2, 3, 4]}, "no 'mask', only a 'bbox', which has no outline"),
        ({"image": "a.png", "bbox": [1, 2, 3, 4], "text": "the cat"}, "no 'mask', only a 'bbox'"),
        ({**nothing, "image2": "b.png"}, "no 'mask' beside a second frame"),
        ({**nothing, "image": "gone.png"}, "missing: no such file"),
    ]:
        with pytest.raises(BadSample, match=reason):
            OwnData(make(tmp_path, record))[0]

"""SA-1B in its three layouts, and tar shards with faults."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sa2va_native.datasets.adapters.sa1b import Sa1b
from sa2va_native.datasets.adapters.tar_shards import TarShards
from sa2va_native.datasets.reading.object_limits import area_share
from sa2va_native.datasets.reading.tar_shard import list_shard
from sa2va_native.errors import BadSample, ConfigError, DataError
from tests.sa2va_native.datasets.native import (
    SIZE,
    box,
    picture,
    sa1b_annotation,
    sa1b_members,
    write_files,
    write_sa1b,
    write_tar,
)


def drawn(data: TarShards) -> dict[str, Any]:
    """Sample or reason by sample id or record."""
    found: dict[str, Any] = {}
    for index in range(len(data)):
        try:
            sample = data[index]
        except BadSample as error:
            found[error.record] = error
        else:
            found[sample.sample_id.split("#")[1]] = sample
    return found


@pytest.mark.parametrize("layout", ["tar", "beside", "apart"])
def test_each_layout_gives_each_annotation_with_its_picture(tmp_path: Path, layout: str):
    """Red when a mask meets another picture: an offset, a folder or a position is off."""
    found = drawn(Sa1b(write_sa1b(tmp_path / "set", layout)))
    assert sorted(found) == sorted(f"annotation {100 * i + j}" for i in (1, 2, 3) for j in (0, 1))
    for image_id in (1, 2, 3):
        for j, mask in enumerate((box(2, 3), box(5, 8, 15, 20))):
            sample = found[f"annotation {100 * image_id + j}"]
            np.testing.assert_array_equal(sample.mask, mask)
            np.testing.assert_allclose(sample.image.astype(int), picture(image_id), atol=4)


def test_layouts_may_stand_side_by_side(tmp_path: Path):
    """Red when the presence of shards hides unpacked files."""
    write_sa1b(tmp_path, "tar")
    write_files(tmp_path / "more", sa1b_members(9))
    write_files(
        tmp_path / "pairs", {f"{d}/sa_7.{s}": sa1b_members(7)[f"sa_7.{s}"] for d, s in (("img", "jpg"), ("js", "json"))}
    )
    assert {"annotation 100", "annotation 700", "annotation 900"} <= set(drawn(Sa1b(tmp_path)))


@pytest.mark.parametrize(
    ("limit", "kept", "reason"),
    [
        ({"min_predicted_iou": 0.88}, [0], "below min_predicted_iou=0.88"),
        ({"min_stability_score": 0.92}, [0], "below min_stability_score=0.92"),
        ({"min_area_share": 0.2}, [1], "below min_area_share=0.2"),
        ({"max_area_share": 0.2}, [0], "above max_area_share=0.2"),
        ({"min_area_share": 120 / (24 * 32), "max_area_share": 300 / (24 * 32)}, [0, 1], None),
    ],
)
def test_each_filter_counts_what_it_drops(tmp_path: Path, limit: dict[str, float], kept: list[int], reason: str | None):
    """Red when a filter compares the wrong way, or drops without a count. Limits belong to what is kept."""
    data = Sa1b(write_sa1b(tmp_path, "tar"), **limit)
    assert sorted(drawn(data)) == [f"annotation {100 * i + j}" for i in (1, 2, 3) for j in kept]
    assert data.index.dropped == ({reason: 3} if reason else {})


def test_a_filter_that_leaves_nothing_says_what_it_dropped(tmp_path: Path):
    with pytest.raises(DataError, match=r"no record is left .*'below min_predicted_iou=0.99': 6"):
        Sa1b(write_sa1b(tmp_path, "tar"), min_predicted_iou=0.99)
    with pytest.raises(ConfigError, match=r"min_area_share 0.5 and max_area_share 0.1"):
        Sa1b(tmp_path, min_area_share=0.5, max_area_share=0.1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the folder is empty"):
        Sa1b(tmp_path / "empty")


GOOD = sa1b_annotation(1, box(2, 3))
FAULTS = {
    "RLE of another size": (
        [sa1b_annotation(5, box(2, 3, size=(10, 40)))],
        {},
        "picture of 32 x 24 px (width x height), annotated as 40 x 10 px",
    ),
    "empty mask": ([sa1b_annotation(5, box(0, 0, height=0))], {}, "empty mask"),
    "broken RLE": (
        [{**GOOD, "id": 5, "segmentation": {"size": list(SIZE), "counts": "\x01"}}],
        {},
        "cannot be decoded",
    ),
    "no segmentation": ([{"id": 5, "predicted_iou": 1.0, "area": 200}], {}, "no segmentation"),
    "no score": ([{"id": 5, "segmentation": GOOD["segmentation"], "area": 200}], {}, "'predicted_iou' is None"),
    "no area": ([{"id": 5, "segmentation": GOOD["segmentation"]}], {}, "limits of area need its 'area'"),
    "no object": (["text"], {}, "a str, expected an object"),
    "jpg cut off": ([{**GOOD, "id": 5}], {"sa_1.jpg": sa1b_members(1)["sa_1.jpg"][:300]}, "unreadable picture"),
    "json cut off": ([], {"sa_1.json": sa1b_members(1)["sa_1.json"][:400]}, "not JSON; truncated?"),
    "json of another kind": ([], {"sa_1.json": b'{"images": []}'}, "no list 'annotations'"),
    "json of brackets": ([], {"sa_1.json": b"[" * 100_000}, "not JSON"),
}


@pytest.mark.parametrize("layout", ["tar", "beside"])
@pytest.mark.parametrize(("annotations", "files", "reason"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_record_is_one_bad_sample(
    tmp_path: Path, layout: str, annotations: list[Any], files: dict[str, bytes], reason: str
):
    """Red when a fault stops the build or the run, takes others along, or vanishes."""
    members = {**sa1b_members(1, annotations), **files, **sa1b_members(2)}
    if layout == "tar":
        write_tar(tmp_path / "sa_000000.tar", members)
    else:
        write_files(tmp_path, members)
    found = drawn(Sa1b(tmp_path, min_predicted_iou=0.1, max_area_share=0.9))
    good = {name: sample for name, sample in found.items() if not isinstance(sample, BadSample)}
    assert sorted(good) == ["annotation 200", "annotation 201"]
    (error,) = (one for one in found.values() if isinstance(one, BadSample))
    assert reason in str(error)
    assert "sa_1.j" in error.path


def test_a_missing_picture_is_a_bad_sample_of_each_annotation(tmp_path: Path):
    write_sa1b(tmp_path, "apart")
    (tmp_path / "img/sa_2.jpg").unlink()
    found = drawn(Sa1b(tmp_path))
    assert "img/sa_2.jpg" in found["annotation 200"].path
    assert "missing" in found["annotation 201"].reason


def test_an_id_twice_in_a_json_is_one_item(tmp_path: Path):
    """Red when the second is drawn as if it were another object. The same id in another json is another object."""
    twice = [sa1b_annotation(5, box(2, 3)), sa1b_annotation(5, box(8, 8))]
    write_files(tmp_path, {**sa1b_members(1, twice), **sa1b_members(2, twice[:1])})
    data = Sa1b(tmp_path)
    assert len(data) == 2
    assert data.index.dropped == {"with an id that their json already has": 1}
    np.testing.assert_array_equal(data[0].mask, box(2, 3))


def test_a_member_without_its_other_half_is_named(tmp_path: Path):
    members = {**sa1b_members(1), "sa_2.jpg": sa1b_members(2)["sa_2.jpg"], "sa_3.json": sa1b_members(3)["sa_3.json"]}
    found = drawn(Sa1b(write_tar(tmp_path / "a.tar", members).parent))
    assert found["sa_2"].reason == "no json among its members: jpg"
    assert found["sa_3"].reason == "no picture among its members: json"


def damaged_tars(tmp_path: Path) -> dict[str, bytes]:
    whole = write_tar(tmp_path / "whole.tar", {**sa1b_members(1), **sa1b_members(2)}).read_bytes()
    second = list_shard(tmp_path / "whole.tar").samples["sa_2"]["jpg"].start
    (tmp_path / "whole.tar").unlink()
    return {
        "cut in a member": whole[: second + 100],
        "cut between members": whole[: second - 512],
        "broken header": whole[: second - 512] + b"\xff" * 512 + whole[second:],
        "size below zero": whole[: second - 512] + tar_header(-1024) + whole[second:],
        "size above any file": whole[: second - 512] + tar_header(2**80, tarfile.XHDTYPE) + whole[second:],
        "size above any memory": whole[: second - 512] + tar_header(2**40, tarfile.GNUTYPE_LONGNAME) + whole[second:],
    }


def tar_header(size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """With its checksum, and the size in the base of 256 that GNU tar has for large files."""
    info = tarfile.TarInfo("sa_9.jpg")
    info.type = kind
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT)[: tarfile.BLOCKSIZE])
    header[124:136] = bytes([255 if size < 0 else 128]) + size.to_bytes(11, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def test_errors_name_a_member_as_a_reader_can(tmp_path: Path):
    """Red when an address in memory stands for the picture, or nothing for a member without a name."""
    write_tar(tmp_path / "sa_0.tar", {**sa1b_members(1), "sa_1.jpg": b"no picture", ".jpg": b""})
    said = []
    for index in range(len(data := Sa1b(tmp_path))):
        with pytest.raises(BadSample) as error:
            data[index]
        said.append((error.value.record, error.value.reason))
    picture = f"unreadable picture (UnidentifiedImageError: cannot identify image file '{tmp_path}/sa_0.tar:sa_1.jpg')"
    nameless = "no json among its members: jpg"
    assert said == [("annotation 100", picture), ("annotation 101", picture), ("(no name)", nameless)]


@pytest.mark.parametrize(
    "damage",
    [
        *("cut in a member", "cut between members", "broken header"),
        *("size below zero", "size above any file", "size above any memory"),
    ],
)
def test_a_damaged_shard_keeps_what_lies_before_and_names_the_rest(tmp_path: Path, damage: str):
    """Red when tarfile's silence about a damaged header, or a missing end, loses the rest of a shard unseen; or when a
    senseless size ends the build, or makes it go round for ever.
    """
    (tmp_path / "a.tar").write_bytes(damaged_tars(tmp_path)[damage])
    found = drawn(TarShards(tmp_path))
    good = [name for name, sample in found.items() if not isinstance(sample, BadSample)]
    assert good == ["annotation 100", "annotation 101"]
    assert "not a whole uncompressed tar" in found["shard"].reason


def test_a_compressed_shard_is_named(tmp_path: Path):
    write_tar(tmp_path / "a.tar", sa1b_members(1))
    (tmp_path / "b.tar").write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes()))
    found = drawn(TarShards(tmp_path))
    assert found["shard"].path.endswith("b.tar")
    assert len(found) == 3


def test_links_and_repeated_names_in_a_shard_are_left_out_and_counted(tmp_path: Path):
    """Red when a link leads out of the shard, or a repeated name exchanges a picture."""
    path = write_tar(tmp_path / "a.tar", sa1b_members(1))
    with tarfile.open(path, "a") as tar:
        again = tarfile.TarInfo("sa_1.jpg")
        again.size = 3
        tar.addfile(again, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("sa_2.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    data = TarShards(tmp_path)
    assert data.index.dropped == {
        "members with a name that their shard already has": 1,
        "members that are not plain files": 1,
    }
    assert len(data) == 2
    np.testing.assert_allclose(data[0].image.astype(int), picture(1), atol=4)


def test_shards_with_text(tmp_path: Path):
    """Red when annotations without the text become samples that a refer source cannot use."""
    annotations = [
        sa1b_annotation(1, box(2, 3), caption="a box"),
        sa1b_annotation(2, box(3, 3)),
        sa1b_annotation(3, box(3, 3), caption=" "),
    ]
    data = TarShards(write_tar(tmp_path / "deep/a.tar", sa1b_members(1, annotations)).parents[1], text_key="caption")
    assert [data[i].text for i in range(len(data))] == ["a box"]
    assert data[0].sample_id == "deep/a.tar/sa_1.json#annotation 1"
    assert data.index.dropped == {"without 'caption'": 2}


def test_a_new_shard_alone_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Red when one more download costs the indexing of all."""
    write_sa1b(tmp_path, "tar")
    assert len(Sa1b(tmp_path)) == 6
    listed = []
    monkeypatch.setattr(
        "sa2va_native.datasets.adapters.tar_shards.list_shard",
        lambda path: listed.append(path.name) or list_shard(path),
    )
    write_tar(tmp_path / "sa_000002.tar", sa1b_members(8))
    assert len(Sa1b(tmp_path)) == 8
    assert listed == ["sa_000002.tar"]


def test_adapters_of_one_folder_have_an_index_each(tmp_path: Path):
    """Red when an adapter opens what another has indexed: shards alone are no SA-1B that lies in files as well."""
    write_sa1b(write_sa1b(tmp_path, "tar"), "beside")
    assert [len(Sa1b(tmp_path)), len(TarShards(tmp_path)), len(Sa1b(tmp_path))] == [12, 6, 12]


def test_a_number_that_no_float_holds_is_a_bad_sample(tmp_path: Path):
    """Red when a score or an area of hundreds of digits ends the run."""
    annotations = [sa1b_annotation(1, box(2, 3), predicted_iou=10**400), sa1b_annotation(2, box(2, 3), area=10**400)]
    data = Sa1b(write_files(tmp_path, sa1b_members(1, annotations)), min_predicted_iou=0.5, max_area_share=0.9)
    for index, reason in enumerate(("min_predicted_iou needs a number", "the limits of area need")):
        with pytest.raises(BadSample, match=reason):
            data[index]


def test_a_json_that_shrank_after_indexing_is_a_bad_sample(tmp_path: Path):
    write_files(tmp_path, sa1b_members(1))
    data = Sa1b(tmp_path)
    (tmp_path / "sa_1.json").write_text(json.dumps({"annotations": []}))
    with pytest.raises(BadSample, match="changed since it was indexed"):
        data[1]


@pytest.mark.parametrize(
    ("area", "width", "height"),
    [(float("nan"), 64, 48), (5, "640", 10**11), (5, 0, 48), (10**400, 1, 1), ("5", 64, 48)],
)
def test_a_senseless_area_is_no_share(area: Any, width: Any, height: Any):
    """Red when one passes every limit, is sorted by, or takes the memory of the machine."""
    assert area_share(area, width, height) is None


def test_a_list_of_texts_is_a_bad_sample_and_not_left_out(tmp_path: Path):
    """Red when a list of captions counts as no caption, so that nobody learns of it."""
    texts = ({"caption": ["a box", "it"]}, {"caption": []}, {"caption": "a box"})
    annotations = [sa1b_annotation(number, box(2, 3), **text) for number, text in enumerate(texts)]
    write_tar(tmp_path / "a.tar", sa1b_members(1, annotations))
    data = TarShards(tmp_path, text_key="caption")
    assert (len(data), data.index.dropped) == (2, {"without 'caption'": 1})
    with pytest.raises(BadSample, match="text is a list, expected a string"):
        data[0]

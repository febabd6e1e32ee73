"""Each adapter on its native layout: every sound record is a sample, every fault is named, nothing is executed."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.registry import DATASETS

from sa2va_native.errors import BadSample, DataError
from tests.sa2va_native.datasets.adapters.test_refer import Malicious
from tests.sa2va_native.datasets.faults import SETS, NativeSet, write_set
from tests.sa2va_native.datasets.test_fuzz import check_sound

pytestmark = pytest.mark.filterwarnings("ignore:Image size")  # Pillow's own limit is lower than ours


@pytest.mark.parametrize("faults", [True, False], ids=["faulty", "clean"])
@pytest.mark.parametrize("name", SETS)
def test_every_record_is_read_or_named(name: str, faults: bool, tmp_path: Path):
    """Red when a fault is not noticed, is named in another place, costs a sound record, or runs code."""
    native = write_set(name, tmp_path / "set", faults)
    adapter = DATASETS.build(native.config)
    sound, bad = [], {}
    for index in range(len(adapter)):
        try:
            sample = adapter[index]
        except BadSample as error:
            place = os.path.relpath(error.path, native.root), error.record
            assert place not in bad, "two records of one name"
            bad[place] = error.reason
        else:
            check_sound(sample)
            sound.append(sample.sample_id)
    assert sorted(sound) == sorted(native.sound)
    assert {place: native.bad[place] if native.bad.get(place, "?") in bad[place] else bad[place] for place in bad} == (
        native.bad
    )
    assert getattr(getattr(adapter, "index", adapter), "dropped", {}) == native.dropped
    assert faults or not (native.bad or native.dropped)
    assert not native.trace.exists(), "code was executed"


@pytest.mark.parametrize("name", SETS)
def test_sets_say_how_large_an_object_is(name: str, tmp_path: Path):
    """Red when a set's word on it is of another object, or in other units; 0 is what sets say that do not know."""
    native = write_set(name, tmp_path / "set", faults=False)
    adapter = DATASETS.build(native.config)
    told = [adapter.area_share(index) for index in range(len(adapter))] if hasattr(adapter, "area_share") else []
    if name.startswith(("OwnData", "Sav")):
        assert not any(told)
    elif name.startswith("OpenImages"):  # it knows the object's box
        assert set(told) == {0.25}
    else:
        assert told == pytest.approx([adapter[index].mask.mean() for index in range(len(adapter))])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def run_code(path: Path) -> None:
    path.write_bytes(pickle.dumps([Malicious(path.parent / "trace")]))


def lose_column(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace("MaskPath", "Mask", 1), encoding="utf-8")


def quote_header(path: Path) -> None:
    path.write_text('"' + path.read_text(encoding="utf-8"), encoding="utf-8")


CSV = "train-annotations-object-segmentation.csv"


@pytest.mark.parametrize(
    ("name", "file", "damage", "message"),
    [
        ("CocoInstances", "instances.json", cut, "not JSON"),
        ("CocoInstances", "instances.json", empty, "not JSON"),
        ("CocoInstances", "instances.json", loop, "no such file"),
        ("CocoInstances", "instances.json", Path.unlink, "no such file"),
        ("ReferExpressions", "instances.json", cut, "not JSON"),
        ("ReferExpressions", "refs(unc).p", run_code, "mkdir"),
        ("ReferExpressions", "refs(unc).p", cut, "refused or broken pickle"),
        ("ReferExpressions", "refs(unc).p", empty, "refused or broken pickle"),
        ("ReferExpressions", "refs(unc).p", loop, "refused or broken pickle"),
        ("OwnData", "data.jsonl", empty, "no records"),
        ("OwnData", "data.jsonl", loop, "no such file"),
        ("OpenImages", CSV, lose_column, "no column 'MaskPath'. Did you mean 'Mask'?"),
        ("OpenImages", CSV, quote_header, "no header"),
        ("OpenImages", CSV, empty, "no header"),
        ("OpenImages", CSV, loop, "no such file"),
        ("OpenImages with text", "oidv7-class-descriptions.csv", lambda path: path.write_text("/m/1"), "line 1"),
        ("DescribeAnything", "SAM/annotations.json", cut, "not JSON"),
        ("DescribeAnything", "SAM/annotations.json", empty, "not JSON"),
        ("DescribeAnything", "SAM/annotations.json", loop, "no such file"),
    ],
)
def test_a_set_whose_one_file_is_broken_is_refused_in_one_line(
    name: str, file: str, damage: Callable[[Path], object], message: str, tmp_path: Path
):
    """Red when such a set opens, says where and why in more than a line or not at all, or runs code."""
    native: NativeSet = write_set(name, tmp_path / "set", faults=False)
    damage(native.root / file)
    with pytest.raises(DataError) as refused:
        DATASETS.build(native.config)
    assert not isinstance(refused.value, BadSample)
    assert str(native.root / file) in str(refused.value)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not native.trace.exists(), "code was executed"

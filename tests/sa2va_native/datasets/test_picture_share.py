"""Pictures held out of training: the same everywhere, with all of their objects, and at least one on either side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.registry import DATASETS
from PIL import Image

from sa2va_native.datasets.adapters.coco import CocoInstances
from sa2va_native.datasets.adapters.own_data import OwnData
from sa2va_native.datasets.adapters.refer import ReferExpressions
from sa2va_native.datasets.finding.find_sets import find_sets
from sa2va_native.datasets.mixture import MixtureDataset
from sa2va_native.datasets.picture_share import items_by_share
from sa2va_native.errors import ConfigError, DataError
from tests.sa2va_native.datasets.adapters.test_refer import make_refs, ref
from tests.sa2va_native.datasets.native import sa1b_members, write_describe_anything, write_open_images, write_tar
from tests.sa2va_native.datasets.test_mixture import Numbers


class Named:
    """Items of pictures of these names."""

    def __init__(self, *names: str | None) -> None:
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def picture_name(self, index: int) -> str | None:
        return self.names[index]


def test_a_picture_is_on_one_side_with_all_of_its_items() -> None:
    """Red when expressions of one picture are trained and scored, the choice depends on order or on what was added,
    or the share is far from the one that was asked for."""
    names = [f"pictures/{number}.jpg" for number in range(1000)]
    data = Named(*names, *reversed(names), None)
    held_out, rest = (items_by_share(data, 0.1, side).tolist() for side in (True, False))
    assert sorted(held_out + rest) == list(range(2001))
    assert 2000 in rest, "what cannot be read is trained on, where it is reported"
    chosen = {data.names[item] for item in held_out}
    assert not chosen & {data.names[item] for item in rest}
    assert 60 < len(chosen) < 140
    more = Named(*(f"new/{number}.jpg" for number in range(500)), *names)
    assert {more.names[item] for item in items_by_share(more, 0.1, True)} & set(names) == chosen


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_a_few_pictures_give_both_sides_one(share: float) -> None:
    """Red when ten pictures and a tenth of them leave nothing to evaluate, or nothing to train on."""
    data = Named("a", "b", "a")
    sides = [items_by_share(data, share, side).tolist() for side in (True, False)]
    assert sorted(map(len, sides)) == [1, 2]
    with pytest.raises(DataError, match=r"1 picture among 2 items, so none can be held out.*--val-root"):
        items_by_share(Named("a", "a"), share, True)


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"above 0 and below 1, got 1"):
        items_by_share(Named("a", "b"), 1, True)
    with pytest.raises(ConfigError, match=r"Numbers does not tell which items are of one picture.*--val-root"):
        items_by_share(Numbers(3), 0.5, True)


def test_a_mixture_trains_on_what_another_evaluates_not() -> None:
    """Red when a limit on samples brings held-out pictures back, or the two sides are the same."""

    class Pictures(Named, Numbers):
        def __init__(self, count: int) -> None:
            Numbers.__init__(self, count)
            self.names = tuple(map(str, range(count)))

    def items(**settings: object) -> set[int]:
        (source,) = MixtureDataset([{"kind": "cycle", "dataset": Pictures(200), **settings}], None).sources
        return set(np.asarray(source.items).tolist())

    training, validation = items(held_out=0.2), items(only_held_out=0.2)
    assert training | validation == set(range(200))
    assert not training & validation
    assert items(held_out=0.2, max_samples=20) < training


@pytest.mark.parametrize(
    "write",
    [
        write_describe_anything,
        write_open_images,
        lambda root: write_tar(root / "mine_0.tar", {**sa1b_members(1), **sa1b_members(2)}),
    ],
)
def test_large_sets_tell_their_pictures(write: Callable[[Path], Any], tmp_path: Path) -> None:
    """Red when the captions of a published set cannot be held out by picture, or a picture has two names."""
    write(tmp_path)
    (found,) = find_sets(tmp_path)
    data = DATASETS.build(found.config)
    names = [data.picture_name(index) for index in range(len(data))]
    assert [names.index(name) for name in names] == [
        data.pictures(range(len(data))).index(picture) for picture in data.pictures(range(len(data)))
    ]
    held_out, rest = (items_by_share(data, 0.5, side).tolist() for side in (True, False))
    assert held_out
    assert rest


def test_sets_of_the_same_pictures_hold_out_the_same(tmp_path: Path) -> None:
    """Red when masks of a picture are trained on and its expressions scored, as COCO and RefCOCO share pictures."""
    make_refs(tmp_path, [ref(1, "left one", "a box"), ref(2, "right one")])
    images = [CocoInstances(tmp_path / "instances.json", tmp_path / "images").picture_name(index) for index in range(2)]
    data = ReferExpressions(tmp_path, "train")
    assert {data.picture_name(index) for index in range(len(data))} <= set(images)
    Image.new("RGB", (9, 9)).save(tmp_path / "1.png")
    (tmp_path / "data.jsonl").write_text(json.dumps({"image": "1.png", "mask": None, "text": "a"}) + "\n{\n")
    own = OwnData(tmp_path / "data.jsonl")
    assert [own.picture_name(index) for index in range(2)] == ["1.png", None]

"""The written scene set: complete or not there, and honest about its captions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sa2va_native.datasets.adapters.scenes import SceneExpressions, SceneMasks
from sa2va_native.datasets.marked_folder import MARKER, write_once
from sa2va_native.datasets.scenes import scene_set
from sa2va_native.datasets.scenes.language import HELD_OUT_PAIRS, caption_of, parse_caption
from sa2va_native.datasets.scenes.scene import make_scene
from sa2va_native.datasets.scenes.scene_set import split_folder, write_scene_set
from sa2va_native.errors import ConfigError, DataError


def annotations(root: Path, split: str) -> list[dict]:
    return json.loads((root / split / "instances.json").read_text())["annotations"]


def test_held_out_pairs_are_where_they_belong(scene_root: Path):
    """Red when a held-out pair is labelled, or when mask-only scenes carry labels."""
    pairs = {
        split: [(one["attributes"]["colour"], one["attributes"]["shape"]) for one in annotations(scene_root, split)]
        for split in ("labelled", "test", "test_heldout")
    }
    assert HELD_OUT_PAIRS.isdisjoint(pairs["labelled"] + pairs["test"])
    assert HELD_OUT_PAIRS.issuperset(pairs["test_heldout"])
    assert not any({"attributes", "caption"} & set(one) for one in annotations(scene_root, "mask_only"))
    assert not (scene_root / "mask_only/refs(unc).p").exists()


def test_validation_splits_are_a_set_of_their_own_with_other_scenes(tmp_path: Path):
    """Red when asking for validation makes an existing set unusable, or shows test scenes under another name."""
    sizes = {"labelled": 2, "test": 3, "test_heldout": 3}
    root = write_scene_set(tmp_path / "set", sizes=sizes, side=48)
    before = (root / MARKER).read_bytes()
    settings = dict(root=root, settings=dict(sizes=sizes, side=48))
    validation = {
        "val": SceneExpressions("val", **settings),
        "val_heldout": SceneExpressions("val_heldout", **settings),
    }
    assert (root / MARKER).read_bytes() == before
    for split, expressions in validation.items():
        masks = SceneMasks(split, text_key="caption", **settings)
        assert len({one["image_id"] for one in masks.items}) == 100
        said = parse_caption(str(masks[0].text))
        assert said is not None
        assert said.items() <= masks[0].attributes.items()
        assert masks[0].attributes["colour"] in masks[0].attributes["scene_colours"]
        assert str(expressions[0].text).startswith("the ")
        tested = SceneMasks(split.replace("val", "test"), **settings)
        pictures = {one.image.tobytes() for one in (masks[i] for i in range(0, len(masks), 3))}
        assert pictures.isdisjoint(tested[i].image.tobytes() for i in range(len(tested)))
    folder = split_folder("val", root, sizes=sizes, side=48).parent
    shown = [(one["attributes"]["colour"], one["attributes"]["shape"]) for one in annotations(folder, "val")]
    assert HELD_OUT_PAIRS.isdisjoint(shown)
    own = {"val": 1}
    assert split_folder("val", tmp_path / "own", sizes=own, side=48) == tmp_path / "own" / "val"


def test_what_an_oracle_is_told_is_a_set_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Red when the oracle's expressions leave out held-out pairs, or make an existing set unusable."""
    monkeypatch.setitem(scene_set._FURTHER_SETS, "pretrain", {"pretrain": 40})
    told = SceneExpressions("pretrain", tmp_path / "set", dict(side=32))
    assert not (tmp_path / "set").exists()
    shown = {
        (one["attributes"]["colour"], one["attributes"]["shape"])
        for one in annotations(tmp_path / "set_pretrain", "pretrain")
    }
    assert HELD_OUT_PAIRS & shown
    assert str(told[0].text).startswith("the ")


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 0, 0), (0.5, 0.25, 0.62), (1.0, 0.7, 0.98)])
def test_caption_colour_noise_touches_labelled_captions_only(tmp_path: Path, noise: float, low: float, high: float):
    """Red when noise reaches expressions, other words or test captions. 1 of 8 draws is the true colour."""
    sizes = {"labelled": 30, "test": 10}
    root = write_scene_set(tmp_path / "noisy", sizes=sizes, side=48, caption_colour_noise=noise)
    clean = write_scene_set(tmp_path / "clean", sizes=sizes, side=48)
    assert (root / "labelled/refs(unc).p").read_bytes() == (clean / "labelled/refs(unc).p").read_bytes()
    wrong = []
    for one in annotations(root, "labelled"):
        said = parse_caption(one["caption"])
        assert said is not None
        assert {**said, "colour": one["attributes"]["colour"]} == one["attributes"]
        wrong.append(said["colour"] != one["attributes"]["colour"])
    assert low <= sum(wrong) / len(wrong) <= high
    assert all(parse_caption(one["caption"]) == one["attributes"] for one in annotations(root, "test"))


def test_writing_twice_changes_nothing_and_is_the_same_everywhere(tmp_path: Path):
    """Red when a second start writes again, or when content depends on anything but the settings."""
    sizes = {"test": 3}
    one = write_scene_set(tmp_path / "one", sizes=sizes, side=48)
    stamp = (one / MARKER).stat().st_mtime_ns
    assert write_scene_set(one, sizes=sizes, side=48) == one
    assert (one / MARKER).stat().st_mtime_ns == stamp
    two = write_scene_set(tmp_path / "two", sizes=sizes, side=48)
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(two)) for path in two.rglob("*") if path.is_file())
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_a_half_written_set_is_made_anew(tmp_path: Path):
    """Red when a set without its marker is taken for complete."""
    root = write_scene_set(tmp_path / "set", sizes={"test": 2}, side=48)
    (root / MARKER).unlink()
    (root / "test/instances.json").write_text("{")
    write_scene_set(root, sizes={"test": 2}, side=48)
    assert len(annotations(root, "test")) == 6


def test_a_killed_writer_leaves_nothing_at_the_place(tmp_path: Path):
    """Red when the folder gets its name before it is complete."""

    def write(folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_once(tmp_path / "set", {}, write)
    assert list(tmp_path.iterdir()) == []


def test_a_faster_rank_wins(tmp_path: Path):
    """Red when two ranks that write at once fail or overwrite each other."""
    root = tmp_path / "set"

    def slow(folder: Path) -> None:
        (folder / "who").write_text("slow")
        write_once(root, {"a": 1}, lambda other: (other / "who").write_text("fast"))

    assert write_once(root, {"a": 1}, slow) == root
    assert (root / "who").read_text() == "fast"
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_other_settings_and_strange_folders_are_refused(tmp_path: Path):
    """Red when old data is trained on in silence, or somebody's files are deleted."""
    root = write_scene_set(tmp_path / "set", sizes={"test": 1}, side=48)
    with pytest.raises(DataError, match=r"side is 48, asked for 64.*Delete it"):
        write_scene_set(root, sizes={"test": 1}, side=64)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").touch()
    with pytest.raises(DataError, match="did not write"):
        write_scene_set(tmp_path / "mine")
    assert (tmp_path / "mine/thesis.txt").exists()
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        write_scene_set(tmp_path / "file" / "set")


def test_bad_settings_name_value_and_remedy(tmp_path: Path):
    with pytest.raises(ConfigError, match="Did you mean 'mask_only'"):
        write_scene_set(tmp_path, sizes={"mask": 1})
    with pytest.raises(ConfigError, match=r"within 0..1, got 2"):
        write_scene_set(tmp_path, caption_colour_noise=2)


def test_the_colours_of_the_picture_are_those_of_all_its_objects(tmp_path: Path):
    """Red when objects that the split does not annotate are forgotten: their colours are in the picture too."""
    root = write_scene_set(tmp_path / "set", sizes={"test_heldout": 4}, side=48)
    scenes = [make_scene(0, "test_heldout", index, side=48) for index in range(4)]
    assert any(len(scene.targets) < len(scene.objects) for scene in scenes)
    masks = SceneMasks("test_heldout", root, {"sizes": {"test_heldout": 4}, "side": 48})
    for place, one in enumerate(annotations(root, "test_heldout")):
        scene, sample = scenes[(one["image_id"] - 1) // 2], masks[place]
        assert scene.objects[one["track_id"] - 1].attributes == one["attributes"]
        assert sample.attributes["scene_colours"] == sorted({item.colour for item in scene.objects})
        assert caption_of(sample.attributes) == one["caption"]

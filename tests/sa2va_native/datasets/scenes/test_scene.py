"""Generated scenes: what the pictures, masks and sentences claim is checked by independent means."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from skimage.measure import points_in_poly

from sa2va_native.datasets.adapters.generated_scenes import GeneratedScenes
from sa2va_native.datasets.scenes.language import (
    COLOURS,
    HELD_OUT_PAIRS,
    SHAPES,
    SIZES,
    TEXTURES,
    VOCABULARY,
    parse_caption,
)
from sa2va_native.datasets.scenes.scene import RGB, SPLITS, Scene, SceneObject, make_scene, outline
from sa2va_native.errors import ConfigError

SCENES = [make_scene(3, "mask_only", i, min_objects=2, max_objects=4) for i in range(60)]


def denotes(expression: str, scene: Scene) -> set[int]:
    """The objects that a listener may understand: an evaluator of its own, which reads relations loosely."""
    for relation, axis, sign in (
        ("left of", "x", 1),
        ("right of", "x", -1),
        ("above", "y", 1),
        ("below", "y", -1),
    ):
        if f" {relation} " in expression:
            head, tail = expression.split(f" {relation} ")
            anchors = denotes(tail, scene)
            assert len(anchors) == 1, f"'{tail}' in '{expression}' is not one object"
            anchor = scene.objects[anchors.pop()]
            return {
                i for i in denotes(head, scene) if sign * (getattr(anchor, axis) - getattr(scene.objects[i], axis)) > 0
            }
    the, *words = expression.split()
    assert the == "the"
    return {i for i, item in enumerate(scene.objects) if set(words) <= set(item.attributes.values())}


def test_every_expression_fits_exactly_its_object():
    """Red when an expression is ambiguous or false: then the true mask would be punished in training."""
    for scene in SCENES:
        for target, expressions in enumerate(scene.expressions):
            assert expressions
            assert len(set(expressions)) == len(expressions)
            for expression in expressions:
                assert denotes(expression, scene) == {target}, (expression, scene.objects)


def test_said_relations_are_clearly_visible():
    """Red when 'left of' is said of objects that are mostly above each other."""
    said = 0
    for scene in SCENES:
        for item, expressions in zip(scene.objects, scene.expressions, strict=True):
            for expression in (text for text in expressions if " left of " in text):
                (anchor,) = denotes(expression.split(" left of ")[1], scene)
                dx, dy = scene.objects[anchor].x - item.x, scene.objects[anchor].y - item.y
                assert dx >= 0.1
                assert dx >= abs(dy)
                said += 1
    assert said > 10


def test_expressions_are_varied():
    """Red when every object gets one fixed form: several an object, with and without relation."""
    texts = [text for scene in SCENES for expressions in scene.expressions for text in expressions]
    objects = sum(len(scene.objects) for scene in SCENES)
    assert len(texts) > 2 * objects
    related = sum(any(word in text for word in (" of ", " above ", " below ")) for text in texts)
    assert 0.2 < related / len(texts) < 0.8


def in_outline(item: SceneObject, side: int) -> np.ndarray:
    """Exact membership of pixel centres, by another library's point-in-polygon."""
    centres = np.stack(np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5), axis=-1).reshape(-1, 2)
    outer, *holes = outline(item, side)
    inside = points_in_poly(centres, outer)
    for hole in holes:
        inside &= ~points_in_poly(centres, hole)
    return inside.reshape(side, side)


@pytest.mark.parametrize("frame", [1, 2])
def test_masks_equal_an_independent_rendering(frame: int):
    """Red when a mask is shifted by half a pixel, ignores an occluder, or belongs to the other frame."""
    shifts = []
    for scene in SCENES[:16]:
        objects = scene.objects if frame == 1 else scene.moved
        masks = scene.render(frame).masks
        covered = np.zeros((scene.side, scene.side), bool)
        for item, mask in reversed(list(zip(objects, masks, strict=True))):
            whole = in_outline(item, scene.side)
            expected = whole & ~covered
            # only pixels that an edge runs through may differ, and few of them
            assert (mask ^ expected).sum() <= 0.1 * whole.sum()
            assert not (mask & ~binary_dilation(whole, np.ones((3, 3)))).any()
            if (expected == whole).all():
                shifts.append(np.argwhere(mask).mean(axis=0) - np.argwhere(whole).mean(axis=0))
            covered |= whole
        assert (masks.sum(axis=0) <= 1).all()
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.05


def test_objects_are_large_enough_and_mostly_visible():
    """Red when an object is hidden or tiny: half visible, 1.5 % (small) or 4 % (large) of the picture."""
    for scene in SCENES:
        for frame, objects in ((1, scene.objects), (2, scene.moved)):
            for item, mask in zip(objects, scene.render(frame).masks, strict=True):
                assert mask.sum() >= 0.5 * in_outline(item, scene.side).sum()
                assert mask.mean() >= (0.015 if item.size == "small" else 0.04)


def test_colours_can_be_told_by_eye():
    """Red when rim or background drown the colour: a plain object's median pixel is nearest its own name."""
    names, table = list(RGB), np.array(list(RGB.values()), float)
    plain = 0
    for scene in SCENES:
        frame = scene.render()
        for item, mask in zip(scene.objects, frame.masks, strict=True):
            if item.texture == "plain":
                median = np.median(frame.image[mask], axis=0)
                assert names[int(np.abs(table - median).sum(axis=1).argmin())] == item.colour
                plain += 1
    assert plain > 50


def test_a_scene_depends_on_its_key_alone():
    """Red when scenes share a generator: order, neighbours or split sizes would change them."""
    later, earlier = make_scene(1, "test", 7), make_scene(1, "test", 2)
    again_earlier, again_later = make_scene(1, "test", 2), make_scene(1, "test", 7)
    assert (earlier, later) == (again_earlier, again_later)
    np.testing.assert_array_equal(later.render(2).image, again_later.render(2).image)
    assert len({make_scene(s, split, i).objects for s in (1, 2) for split in SPLITS for i in (0, 1)}) == 4 * len(SPLITS)


def test_new_splits_leave_old_scenes_as_they_are():
    """Red when a split is inserted before another one: all scenes of later splits would change, and their figures."""
    assert SPLITS[:5] == ("labelled", "mask_only", "test", "test_heldout", "pretrain")
    scene = make_scene(0, "test", 3)
    assert (scene.background, scene.pan) == ("flat", (0, 5))
    assert [item.caption for item in scene.objects] == [
        "a large yellow star",
        "a large dotted orange star",
        "a large orange star",
    ]
    assert scene.expressions[2] == ("the orange star right of the dotted star",)
    assert [item.caption for item in make_scene(0, "test_heldout", 3).objects] == [
        "a small cyan square",
        "a small yellow square",
        "a large yellow square",
    ]


def test_objects_of_a_scene_differ_and_often_in_one_attribute_only():
    """Red when distractors are all unlike the target (too easy), or twins exist (no true expression)."""
    near = 0
    for scene in SCENES:
        differences = [
            sum(a.attributes[name] != b.attributes[name] for name in a.attributes)
            for a, b in itertools.combinations(scene.objects, 2)
        ]
        assert min(differences) >= 1
        near += min(differences) == 1
    assert near > len(SCENES) / 2


def test_held_out_pairs_are_a_third_and_absent_from_what_is_labelled():
    """Red when a held-out pair leaks into labels, or leaves no colour or shape to learn it from."""
    assert len(HELD_OUT_PAIRS) == len(COLOURS) * len(SHAPES) // 3
    for word, position in [(c, 0) for c in COLOURS] + [(s, 1) for s in SHAPES]:
        held_out = sum(pair[position] == word for pair in HELD_OUT_PAIRS)
        assert 0 < held_out <= (len(SHAPES), len(COLOURS))[position] / 2
    for split in ("labelled", "test", "val"):
        assert not any(item.held_out for i in range(60) for item in make_scene(0, split, i).objects)
    assert any(item.held_out for scene in SCENES for item in scene.objects)
    for split, i in itertools.product(("test_heldout", "val_heldout"), range(20)):
        scene = make_scene(0, split, i)
        assert scene.targets
        assert all(scene.objects[target].held_out for target in scene.targets)


def test_the_target_is_not_given_away_by_its_place():
    """Red when the object that the scene was made around is always painted first (or in front)."""
    targets = [make_scene(0, "test_heldout", i).targets for i in range(80)]
    assert {only[0] for only in targets if len(only) == 1} == {0, 1, 2}


def test_the_second_frame_moves_the_same_objects():
    """Red when frame 2 is frame 1, or shows other objects."""
    moved = 0
    for scene in SCENES:
        assert [item.attributes for item in scene.objects] == [item.attributes for item in scene.moved]
        moved += scene.objects != scene.moved
    assert moved > 0.9 * len(SCENES)


def test_captions_round_trip_through_the_grammar():
    """Red when a caption leaves out an attribute or the parser reads another language."""
    for colour, shape, size, texture in itertools.product(COLOURS, SHAPES, SIZES, TEXTURES):
        item = SceneObject(colour, shape, size, texture, 0.5, 0.5, 0.1, 0.0, (0, 0, 0))
        assert parse_caption(item.caption) == item.attributes
        assert set(item.caption.split()) <= set(VOCABULARY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a red circle",
        "the small red circle",
        "a small circle red",
        "a small plain red circle",
        "a small red red circle",
        "a small red circle circle",
        "a small striped red",
        "red",
    ],
)
def test_what_is_no_caption_is_refused(text: str):
    """Red when the grammar rate would count word salad as a sentence."""
    assert parse_caption(text) is None


def test_generated_scenes_follow_from_the_index():
    """Red when another worker sees other data, or the text is not of the object that the mask shows."""
    source = GeneratedScenes(seed=2, two_frames=True)
    one, two = source[11], GeneratedScenes(seed=2, two_frames=True)[11]
    np.testing.assert_array_equal(one.image, two.image)
    assert (one.text, one.sample_id) == (two.text, two.sample_id)
    for i in range(12):
        sample, scene = source[i], source.scene(i)
        (target,) = denotes(str(sample.text), scene)
        assert sample.attributes == scene.objects[target].attributes
        np.testing.assert_array_equal(sample.mask, scene.render(1).masks[target])
        np.testing.assert_array_equal(sample.mask2, scene.render(2).masks[target])
    assert parse_caption(str(GeneratedScenes(text="caption")[0].text)) == GeneratedScenes()[0].attributes


def test_another_size_shows_the_same_scene():
    """Red when sizes or positions are fixed in pixels."""
    small, large = make_scene(0, "test", 3, side=64), make_scene(0, "test", 3, side=192)
    share = [scene.render().masks.mean(axis=(1, 2)) for scene in (small, large)]
    np.testing.assert_allclose(*share, rtol=0.1)


def test_bad_settings_name_the_remedy():
    with pytest.raises(ConfigError, match="Did you mean 'labelled'"):
        make_scene(0, "labeled", 0)
    with pytest.raises(ConfigError, match="2 to 4"):
        make_scene(0, "test", 0, max_objects=9)

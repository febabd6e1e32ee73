"""The generated sets in native layouts, which the documentation shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DATASETS

from sa2va_native.datasets.finding.find_sets import find_mask_sets
from tests.sa2va_native.datasets import native_scenes
from tests.sa2va_native.datasets.native_scenes import at, scenes


@pytest.mark.parametrize(
    ("write", "adapter", "frame"),
    [
        (native_scenes.write_sav_videos, "SavVideos", lambda scene: at(scene, 0)),
        (native_scenes.write_sa1b_shard, "Sa1b", lambda scene: scene.render()),
        (native_scenes.write_open_images_set, "OpenImages", lambda scene: scene.render()),
        (native_scenes.write_described, "DescribeAnything", lambda scene: scene.render()),
        (native_scenes.write_shards, "TarShards", lambda scene: scene.render()),
    ],
)
def test_each_layout_gives_back_its_scene(tmp_path: Path, write: Callable, adapter: str, frame: Callable) -> None:
    """Red when a set that the documentation shows is no set of its kind, or picture and mask do not belong together."""
    (scene,) = scenes(1, first=7)
    (found,) = find_mask_sets(write(tmp_path, count=1, first=7))
    assert found.config["type"] == adapter
    data, drawn = DATASETS.build(found.config), frame(scene)
    assert len(data) == len(scene.objects)
    for i, mask in enumerate(drawn.masks):
        sample = data[i]
        tolerance = 0.02 if adapter == "OpenImages" else 0  # of half the size, and a dot at the edge
        assert (sample.mask != mask).mean() <= tolerance
        assert np.abs(sample.image.astype(int) - drawn.image).mean() < 3
        if sample.image2 is not None:
            assert np.array_equal(sample.mask2, at(scene, 1).masks[i])
            assert not np.array_equal(sample.mask2, mask)


def test_scenes_move_from_one_frame_to_the_other() -> None:
    """Red when the video ends elsewhere than the scene's second frame."""
    (scene,) = scenes(1, first=3)
    for share, frame in ((0.0, 1), (1.0, 2)):
        assert np.array_equal(at(scene, share).masks, scene.render(frame).masks)
        assert np.array_equal(at(scene, share).image, scene.render(frame).image)

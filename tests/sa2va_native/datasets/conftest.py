"""A small generated scene set on disk, written once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from sa2va_native.datasets.scenes.scene_set import write_scene_set

SIZES = {"labelled": 12, "mask_only": 8, "test": 4, "test_heldout": 6}


@pytest.fixture(scope="session")
def scene_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene_set(tmp_path_factory.mktemp("scenes") / "set", seed=5, sizes=SIZES, side=96)

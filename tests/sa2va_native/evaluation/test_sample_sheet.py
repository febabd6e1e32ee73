"""The sheet of samples, and the tool that draws it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sa2va_native.evaluation.drawing import PAPER, REGION
from sa2va_native.evaluation.sample_sheet import LINE, MARGIN, TILE, draw_samples
from sa2va_native.files.paths import ROOT
from sa2va_native.structures import Sample

BLUE = (20, 40, 200)


def sample(two_frames: bool = False, text: str | None = None) -> Sample:
    """A blue picture whose right half is the object; in the second frame the lower half."""
    image = np.broadcast_to(np.array(BLUE, np.uint8), (80, 160, 3)).copy()
    right, lower = np.zeros((80, 160), bool), np.zeros((80, 160), bool)
    right[:, 80:] = lower[40:] = True
    second = {"image2": image, "mask2": lower} if two_frames else {}
    return Sample("data.jsonl#line 3", image, right, text, **second)


def tile(sheet: Image.Image, column: int, row: int) -> np.ndarray:
    left, top = MARGIN + column * (TILE + MARGIN), 2 * LINE + row * (TILE + MARGIN)
    return np.asarray(sheet.crop((left, top, left + TILE, top + TILE)), dtype=np.float32)


def test_the_object_keeps_its_colours_and_the_rest_fades():
    """Red when mask and picture come apart, or the wrong side is faded."""
    masked = tile(draw_samples([sample()], "title"), 0, 0)
    np.testing.assert_allclose(masked[:, TILE // 2 + 5 : -4].mean(axis=(0, 1)), BLUE, atol=6)
    faded = 0.4 * np.array(BLUE) + 0.6 * np.array(PAPER)
    np.testing.assert_allclose(masked[:, 4 : TILE // 2 - 5].mean(axis=(0, 1)), faded, atol=3)


def test_the_cells_are_those_of_the_grid():
    """Red when the cells drawn are not the ones that the model is given: here the right 2 of 4 columns."""
    celled = tile(draw_samples([sample()], "title", grid_size=4), 0, 1)
    centres = celled[TILE // 8 :: TILE // 4, TILE // 8 :: TILE // 4]
    tinted = 0.45 * np.array(BLUE) + 0.55 * np.array(REGION)
    for column, expected in enumerate((BLUE, BLUE, tinted, tinted)):
        np.testing.assert_allclose(centres[:, column], np.broadcast_to(expected, (4, 3)), atol=3)


def test_a_second_frame_has_its_own_mask_and_stills_beside_it_none():
    sheet = draw_samples([sample(two_frames=True), sample()], "title")
    second = tile(sheet, 0, 2)
    np.testing.assert_allclose(second[TILE // 2 + 5 : -4].mean(axis=(0, 1)), BLUE, atol=6)
    assert (tile(sheet, 1, 2) == 255).all()


def test_a_long_text_makes_room():
    """Red when text is cut at the edge of the sheet."""
    short, long = (draw_samples([sample(text=text)], "title").height for text in ("a box", "a box " * 20))
    assert long - short == 3 * LINE


def test_a_long_name_stays_in_its_column():
    """Red when names of files run into each other."""
    named = sample()
    named.sample_id = "some/folder/a_very_long_name_of_a_file_that_goes_on.png"
    sheet = np.asarray(draw_samples([named, sample()], "title"))
    between = MARGIN + TILE
    assert (sheet[:, between + 1 : between + MARGIN - 1] == PAPER).all()


@pytest.mark.slow
def test_the_tool_draws_data_and_configs(tmp_path: Path) -> None:
    """Red when a sheet shows other samples for the same seed, or a bad sample ends the drawing."""
    from tests.sa2va_native.datasets.adapters.test_own_data import SQUARE, make

    good = {"image": "a.png", "mask": SQUARE}
    path = make(tmp_path, good, {**good, "image": "gone.png"}, {**good, "text": "the box"})
    command = [sys.executable, ROOT / "tools/browse_data.py"]
    for out in ("1.png", "2.png"):
        ended = subprocess.run([*command, path, "--out", tmp_path / out], capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        assert "skipped: " in ended.stderr
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    config = tmp_path / "config.py"
    own = f"type='sa2va_native.datasets.adapters.own_data.OwnData', path={str(path)!r}"
    config.write_text(
        "train_dataloader = dict(dataset=dict(\n"
        "    type='sa2va_native.datasets.mixture.MixtureDataset', transform=dict(grid_size=4), sources=[\n"
        f"    dict(kind='cycle', dataset=dict({own})),\n"
        f"    dict(kind='refer', dataset=dict({own}, text_required=True))]))\n"
    )
    ended = subprocess.run([*command, config, "--out", tmp_path / "c.jpg"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert [Image.open(tmp_path / f"c_{n}.jpg").width for n in (1, 2)] == [
        2 * (TILE + MARGIN) + MARGIN,
        TILE + 2 * MARGIN,
    ]

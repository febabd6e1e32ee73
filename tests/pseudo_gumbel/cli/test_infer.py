"""A picture, a folder and a clip are asked; the answers are the same as pictures, as JSON and as lines."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.logging import MMLogger
from PIL import Image
from pycocotools import mask as coco_mask

from pseudo_gumbel.cli import infer
from sa2va_native.errors import InputError
from sa2va_native.files.paths import ROOT
from sa2va_native.inference.clips import read_clip

IMAGES = ROOT / "docs/images"
SCENE, CROSS, CLIP = (str(IMAGES / name) for name in ("scene.png", "scene_cross.png", "clip"))


def asked(*arguments: object) -> None:
    """The command without :func:`run_tool`, which ends the process at an error; later tests log as loud as before."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    try:
        infer.infer(infer.parse_args([str(one) for one in arguments], "tools/infer.py"))
    finally:
        logger.setLevel(level)


def answers(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "answers.json").read_text())


def png(file: str | Path) -> np.ndarray:
    return np.asarray(Image.open(file)) > 0


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_a_picture_is_asked_where_and_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Red when an answer is not of its question, or its mask is another one as a picture than in the JSON."""
    asked(SCENE, "the red circle", "the small star", "--mask", CROSS, "--cycle", "--out", tmp_path)
    lines = capsys.readouterr().out.splitlines()
    red, star, cross = records = answers(tmp_path)
    assert lines[0].startswith(f'{SCENE}: "the red circle"; mask of ')
    assert lines[2].startswith(f"{SCENE}: mask {CROSS}: a large purple cross; mask of ")
    assert lines[2].endswith(f"IoU {cross['iou']:.2f}; {cross['files']['overlay']}")
    assert [red["expression"], star["expression"], cross["mask"]] == ["the red circle", "the small star", CROSS]
    for record in records:
        np.testing.assert_array_equal(coco_mask.decode(record["found"]) > 0, png(record["files"]["found"]))
        assert Image.open(record["files"]["overlay"]).width > 500, "letters would be larger than the picture"
    assert (cross["caption"], red["iou"]) == ("a large purple cross", None)
    assert cross["iou"] == overlap(png(cross["files"]["found"]), png(CROSS)) > 0.8
    pixels = np.asarray(Image.open(SCENE).convert("RGB")).astype(int)
    for record, colour in ((red, (224, 34, 51)), (star, (70, 208, 218))):
        mean = pixels[png(record["files"]["found"])].mean(0)
        assert np.abs(mean - colour).max() < 40, "the mask is on another object"


def test_json_alone_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Red when a library's line stands before it. Regions of boxes and points are asked for as they were given."""
    asked(
        "--json", SCENE, "--box", "60,60,100,110", "--point", "10,10,0", "60.5,70", "--point", "1,1", "--out", tmp_path
    )
    boxed, pointed, other = printed = json.loads(capsys.readouterr().out)
    assert printed == answers(tmp_path)
    assert boxed["box"] == [60, 60, 100, 110]
    assert [pointed["points"], other["points"]] == [[[10, 10, 0], [60.5, 70, 1]], [[1, 1, 1]]]
    for record in printed:
        region = png(record["files"]["region"])
        np.testing.assert_array_equal(coco_mask.decode(record["region"]) > 0, region)
        assert (record["caption"] is None) == ("note" in record)
        assert region.any() != record.get("note", "").startswith("SAM 2 finds nothing there")


def test_every_picture_of_a_folder_is_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Red when one bad picture loses the answers of the others, or two of one stem overwrite each other."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("10.png", "2.png"):
        shutil.copy(SCENE, folder / name)
    Image.open(SCENE).convert("RGB").save(folder / "2.jpg", quality=95)
    (folder / "11.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not asked")
    with pytest.raises(InputError, match="1 of 4 pictures cannot be read and were not asked about; all others were"):
        asked(folder, "the red circle", "--out", tmp_path / "out")
    assert "11.png: picture: unreadable" in capsys.readouterr().err
    records = answers(tmp_path / "out")
    assert [Path(record["picture"]).name for record in records] == ["2.jpg", "2.png", "10.png", "11.png"]
    assert [Path(record["files"]["found"]).name for record in records[:3]] == ["2_jpg_1.png", "2_png_1.png", "10_1.png"]
    assert "unreadable" in records[3]["error"]
    assert overlap(*(png(record["files"]["found"]) for record in records[:2])) > 0.9


@pytest.mark.parametrize("kind", ["folder", "video"])
def test_a_clip_is_asked(tmp_path: Path, kind: str) -> None:
    """Red when frames are asked one by one, are lost, or come in another order."""
    pytest.importorskip("av")
    clip: Any = CLIP
    if kind == "video":
        from sa2va_native.inference.clips import write_video

        clip = tmp_path / "clip.mp4"
        write_video([Image.fromarray(frame) for frame in read_clip(CLIP)], clip)
    asked(clip, "--clip", "the red circle", "--every", 2, "--mask", CROSS, "--cycle", "--out", tmp_path / "out")
    red, cross = answers(tmp_path / "out")
    for record in (red, cross):
        masks = [png(file) for file in sorted(Path(record["files"]["found"]).iterdir())]
        assert len(masks) == len(record["found"]) == len(read_clip(record["files"]["overlay"])) == 3
        for mask, code in zip(masks, record["found"], strict=True):
            np.testing.assert_array_equal(coco_mask.decode(code) > 0, mask)
    frames = [np.asarray(Image.open(file)).astype(int) for file in sorted(Path(CLIP).iterdir())[::2]]
    for frame, code in zip(frames, red["found"], strict=True):
        assert np.abs(frame[coco_mask.decode(code) > 0].mean(0) - (224, 34, 51)).max() < 40
    assert cross["caption"].startswith("a large purple ")
    assert cross["iou"] > 0.8
    assert not (png(cross["files"]["region"]) ^ png(CROSS)).any()


def test_without_pyav_a_clip_becomes_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when a folder of frames cannot be asked without the optional package."""
    monkeypatch.setattr(infer, "find_spec", lambda name: None)
    asked(CLIP, "the red circle", "--clip", "--every", 4, "--out", tmp_path)
    (record,) = answers(tmp_path)
    assert [file.name for file in sorted(Path(record["files"]["overlay"]).iterdir())] == ["00000.png", "00001.png"]


def test_words_that_the_model_does_not_know_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Red when "the bus" is asked as "the <unk>" without a word."""
    asked(SCENE, "the red bus", "the red circle", "--out", tmp_path)
    told = capsys.readouterr().err
    assert '"the red bus": the model does not know bus' in told
    assert "circle" not in told


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["sa2va_tiny", SCENE, "the red circle"],
            "sa2va_tiny is a config, not a picture: give it with --model sa2va_tiny",
        ),
        (["nowhere.png", "it"], "nowhere.png: picture: missing: no such file"),
        ([CLIP, "--mask", CROSS], "a --mask, --box or --point belongs to one picture"),
        ([SCENE, "it", "--clip"], "scene.png is no clip: give a folder of frames, or a video"),
        ([SCENE, "--box", "0,0,129,10"], r"box \[0, 0, 129, 10\] leaves the picture of 128 x 128 px"),
        ([SCENE, "--point", "5,5,0"], "every point is beside the object"),
        ([SCENE, "--mask", "nowhere.png"], "nowhere.png: mask 0: missing"),
        ([SCENE, ""], "expression 0 is empty"),
    ],
)
def test_a_wrong_question_is_named_before_a_model_is_loaded(
    arguments: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when it takes the seconds of a model, or ends in a traceback."""
    monkeypatch.setattr(infer, "load", lambda args: pytest.fail("a model is loaded"))
    with pytest.raises(InputError, match=reason):
        asked(*arguments)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([SCENE], "nothing to do: give an EXPRESSION to find, or a --mask, --box or --point to describe"),
        ([SCENE, "it", "--cycle"], "--cycle begins with a region"),
        ([SCENE, "--box", "1,2,3"], "1,2,3: expected 4 numbers with commas between them"),
        ([SCENE, "--point", "1,b"], "1,b: expected 2 numbers with commas between them"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Red when a model is built for nothing."""
    with pytest.raises(SystemExit, match="2"):
        infer.main(arguments)
    assert reason in capsys.readouterr().err


@pytest.mark.slow
def test_a_fresh_process_answers_without_what_it_does_not_need(tmp_path: Path) -> None:
    """Red when asking waits for the runners or DeepSpeed, 5 s of computing, or the script asks another model."""
    code = (
        "import runpy, sys\nsys.argv = sys.argv[1:]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
        "print(*sorted({'deepspeed', 'matplotlib', 'mmengine.runner', 'pyarrow', 'tensorboard'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code, str(ROOT / "tools/infer.py"), SCENE, "the red circle"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    line, imported = done.stdout.splitlines()
    assert line.startswith(f'{SCENE}: "the red circle"; mask of ')
    assert imported == ""
    assert (tmp_path / "answers/scene_1_overlay.png").is_file()

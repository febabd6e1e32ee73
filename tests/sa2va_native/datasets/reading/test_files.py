"""The rules of ``files``, each against a closed form or what pillow wrote."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sa2va_native.datasets.reading.files import inside, read_mask, read_picture, usable_text
from sa2va_native.errors import BadSample

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def save(path: Path, image: Image.Image, **settings: object) -> Path:
    image.save(path, **settings)
    return path


def test_sixteen_bits_keep_their_high_byte(tmp_path: Path):
    """Red when pillow's conversion is used, which clips at 255: nearly every pixel becomes white."""
    grey = RNG.integers(0, 65536, (6, 9), dtype=np.uint16)
    read = read_picture(save(tmp_path / "a.png", Image.fromarray(grey)), "x")
    np.testing.assert_array_equal(read, np.stack([grey // 256] * 3, axis=2))


def test_a_palette_becomes_its_colours(tmp_path: Path):
    """Red when the indices are taken for grey values."""
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    read = read_picture(save(tmp_path / "a.png", image), "x")
    assert read.tolist() == [[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [40, 50, 60]]]
    read = read_picture(save(tmp_path / "b.png", image, transparency=1), "x")
    assert read.tolist() == [[[10, 20, 30], [255, 255, 255]], [[70, 80, 90], [255, 255, 255]]]


def test_alpha_is_laid_over_white(tmp_path: Path):
    """Red when alpha is dropped: what lies under transparent pixels is often black or junk."""
    alpha = RNG.integers(0, 256, (6, 9, 1), dtype=np.uint8)
    read = read_picture(save(tmp_path / "a.png", Image.fromarray(np.concatenate((PIXELS, alpha), axis=2))), "x")
    share = alpha / 255
    np.testing.assert_allclose(read, PIXELS * share + 255 * (1 - share), atol=1)


def test_cmyk_is_converted(tmp_path: Path):
    """Red when the four inks are read as colours. r = (255 - c)(255 - k) / 255, and jpeg is off by a little."""
    inks = np.broadcast_to(np.array([200, 40, 90, 30], np.uint8), (16, 16, 4))
    read = read_picture(save(tmp_path / "a.jpg", Image.fromarray(inks, "CMYK"), quality=100), "x")
    expected = [(255 - ink) * (255 - 30) / 255 for ink in (200, 40, 90)]
    np.testing.assert_allclose(read[8, 8], expected, atol=3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "YCbCr"])
def test_other_modes_are_three_channels(tmp_path: Path, mode: str):
    """Red when a grey picture has two axes."""
    image = Image.fromarray(PIXELS).convert(mode)
    read = read_picture(save(tmp_path / "a.tif", image), "x")
    np.testing.assert_array_equal(read, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("values", [np.float32(0.5), np.int32(5)])
def test_a_range_that_is_not_known_is_refused(tmp_path: Path, values: np.generic):
    path = save(tmp_path / "a.tif", Image.fromarray(np.full((4, 4), values)))
    with pytest.raises(BadSample, match=r"a.tif: x: picture of mode [FI], .*save it with 8 or 16 bits"):
        read_picture(path, "x")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_a_picture_only_to_the_annotated_size(tmp_path: Path, orientation: int):
    """Red when picture and mask come apart: the annotation's size says which pixels it means."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", Image.fromarray(PIXELS), exif=exif)
    turned = {
        5: PIXELS.transpose(1, 0, 2),
        6: np.rot90(PIXELS, -1),
        7: np.rot90(PIXELS, 2).transpose(1, 0, 2),
        8: np.rot90(PIXELS),
    }
    np.testing.assert_array_equal(read_picture(path, "x"), PIXELS)
    np.testing.assert_array_equal(read_picture(path, "x", expected_size=(6, 9)), PIXELS)
    if orientation in turned:
        np.testing.assert_array_equal(read_picture(path, "x", expected_size=(9, 6)), turned[orientation])
    for size in [(7, 9), *([] if orientation in turned else [(9, 6)])]:
        with pytest.raises(BadSample, match=rf"a.png: x: picture of 9 x 6 px .*annotated as {size[1]} x {size[0]} px"):
            read_picture(path, "x", expected_size=size)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.98])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_truncated_and_empty_files_are_refused(tmp_path: Path, share: float, suffix: str):
    """Red when the missing half of a picture is filled with grey and trained on."""
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BadSample, match=rf"a.{suffix}: line 3: unreadable picture"):
        read_picture(path, "line 3")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Red when 400 million pixels of a small file are decoded; or a large picture cannot be allowed."""
    bomb = save(tmp_path / "bomb.png", Image.new("1", (20_000, 20_000)))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    with pytest.raises(BadSample, match=r"DecompressionBombError"):
        read_picture(bomb, "x")
    hundred = save(tmp_path / "hundred.png", Image.new("1", (10_001, 10_000)))
    with pytest.raises(BadSample, match="10001 x 10000 px is above 100000000 px; shrink it, or raise max_pixels"):
        read_picture(hundred, "x")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_larger_limit_can_be_set(tmp_path: Path):
    path = save(tmp_path / "a.png", Image.fromarray(PIXELS))
    assert read_picture(path, "x", max_pixels=54).shape == (6, 9, 3)
    with pytest.raises(BadSample, match="above 53 px"):
        read_picture(path, "x", max_pixels=53)


def test_postscript_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Red when a picture's name hides an EPS, for which pillow starts Ghostscript."""
    path = save(tmp_path / "a.eps", Image.fromarray(PIXELS)).rename(tmp_path / "a.jpg")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started"))
    with pytest.raises(BadSample, match="unreadable picture"):
        read_picture(path, "x")


def test_paths_stay_below_their_folder(tmp_path: Path):
    """Red when a record can name any file of the machine."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for place in (tmp_path / "out.png", root / "in.png"):
        place.touch()
    (root / "link.png").symlink_to(tmp_path / "out.png")
    (root / "within.png").symlink_to(root / "in.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    os.mkfifo(root / "pipe.png")
    (tmp_path / "alias").symlink_to(root)
    for name in ("in.png", "sub/../in.png", "within.png", str(root / "in.png")):
        for base in (root, tmp_path / "alias"):
            assert inside(base, name, "data.jsonl", "line 1").samefile(root / "in.png")
    reasons = {
        "../out.png": "leads out of",
        str(tmp_path / "out.png"): "leads out of",
        "link.png": "leads out of",
        "loop.png": "loop of symbolic links",
        "a\0b": "not a usable path",
        "\ud800.png": "not a usable path",
        "x" * 5000: "not a usable path",
        "": "is not the path",
        "pipe.png": "not a regular file",  # opening it would wait for ever
        "sub": "not a regular file",
        "gone.png": "missing: no such file",
    }
    for name, reason in reasons.items():
        with pytest.raises(BadSample, match=reason) as caught:
            inside(root, name, "data.jsonl", "line 1")
        str(caught.value).encode()  # can be printed
    for value in (None, 3, ["in.png"]):
        with pytest.raises(BadSample, match=r"data.jsonl: line 1: .* is not the path"):
            inside(root, value, "data.jsonl", "line 1")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_unicode_names_are_found_in_either_form(tmp_path: Path, form: str):
    """Red when an archive made on macOS (NFD names) does not fit its annotations (NFC)."""
    stored = tmp_path / unicodedata.normalize(form, "Müllers Bär 熊.png")
    stored.touch()
    assert inside(tmp_path, "Müllers Bär 熊.png", "data.jsonl", "line 1").samefile(stored)
    assert inside(tmp_path, unicodedata.normalize("NFD", "Müllers Bär 熊.png"), "a", "b").samefile(stored)


def test_backslashes_of_windows_are_slashes(tmp_path: Path):
    """Red when an export from Windows finds none of its pictures, or a path leaves its folder by them."""
    (tmp_path / "root/a").mkdir(parents=True)
    for place in ("root/a/é.png", "root/b\\c.png", "out.png"):
        (tmp_path / place).touch()
    root = tmp_path / "root"
    assert inside(root, "a\\e\u0301.png", "x", "y") == root / "a/é.png"
    assert inside(root, "b\\c.png", "x", "y") == root / "b\\c.png", "its own name"
    with pytest.raises(BadSample, match="leads out of"):
        inside(root, "..\\out.png", "x", "y")


def test_masks_of_any_mode_are_the_one_value_besides_zero(tmp_path: Path):
    """Red when a mask of 0 and 1 is lost by a threshold of 127, or alpha is taken for the object."""
    mask = RNG.random((6, 9)) < 0.4
    sixteen = Image.fromarray(np.where(mask, 700, 0).astype(np.uint16))
    palette = Image.fromarray(mask.astype(np.uint8) * 3, "P")
    palette.putpalette([0] * 9 + [200, 0, 0])
    rgba = np.stack([mask * 255, mask * 0, mask * 0, np.full(mask.shape, 255)], axis=2).astype(np.uint8)
    images = [Image.fromarray(mask), *(Image.fromarray(mask * np.uint8(value)) for value in (1, 255))]
    for image in (*images, sixteen, palette, Image.fromarray(rgba), Image.fromarray(rgba[..., :3])):
        np.testing.assert_array_equal(read_mask(save(tmp_path / "m.png", image), "x"), mask)


def test_a_palette_whose_black_is_the_object_is_refused(tmp_path: Path):
    """Red when a white object on black, saved with few colours, is read as its background."""
    mask = np.zeros((20, 30), np.uint8)
    mask[2:7, 3:8] = 255
    for name, around, object_, palette in (
        ("inverted", 1, 0, [255, 255, 255, 0, 0, 0]),
        ("usual", 0, 1, [0, 0, 0, 255, 255, 255]),
        ("coloured", 0, 1, [9, 9, 9, 255, 255, 255]),
        ("black", 0, 1, [0, 0, 0, 0, 0, 0]),
    ):
        picture = Image.fromarray(np.where(mask, object_, around).astype(np.uint8), "P")
        picture.putpalette(palette)
        path = save(tmp_path / f"{name}.png", picture)
        if name == "inverted":
            with pytest.raises(BadSample, match="mask with 1 values besides 0, which is not the black one"):
                read_mask(path, "x")
        else:
            assert read_mask(path, "x").sum() == 25, name


def test_masks_of_several_values_are_refused(tmp_path: Path):
    """Red when two objects of a label picture, or smeared edges, pass for one object."""
    labels = np.array([[0, 1], [2, 2]], np.uint8)
    with pytest.raises(BadSample, match="mask with 2 values besides 0; write one object per file"):
        read_mask(save(tmp_path / "m.png", Image.fromarray(labels)), "x")
    with pytest.raises(BadSample, match="empty mask"):
        read_mask(save(tmp_path / "e.png", Image.fromarray(labels * 0)), "x")


@pytest.mark.parametrize("text", [None, 3, "", " \n", "half \ud800"])
def test_text_that_no_tokenizer_reads_is_refused(text: object):
    with pytest.raises(BadSample, match=r"data.jsonl: line 1:"):
        usable_text(text, "data.jsonl", "line 1")

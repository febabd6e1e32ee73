"""What is given to inference: every clear form is the same picture, mask or text; the others are one clear error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sa2va_native.errors import InputError
from sa2va_native.inference.inputs import expression_texts, frames_pixels, picture_pixels, region_masks

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
RGB = np.repeat(GREY[..., None], 3, axis=2)
MASK = GREY > 100


@pytest.mark.parametrize(
    "picture",
    [
        RGB, GREY, GREY[..., None], RGB.astype(np.int64), RGB / 255.0, (RGB / 255.0).astype(np.float32), RGB * 1.0,
        RGB.astype(np.uint16) * 257, np.dstack([RGB, np.full_like(GREY, 255)]), Image.fromarray(RGB),
        Image.fromarray(GREY), Image.fromarray(RGB).convert("RGBA"), Image.fromarray(GREY.astype(np.uint16) * 257),
    ],
    ids=["rgb", "grey", "one channel", "int64", "shares", "float32", "levels as floats", "uint16", "RGBA", "pillow",
         "pillow grey", "pillow RGBA", "pillow 16 bits"],
)  # fmt: skip
def test_every_clear_form_is_the_same_picture(picture: Any):
    """Red when a form is refused, scaled twice, or its channels are taken for another."""
    pixels = picture_pixels(picture)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (6, 8, 3))
    np.testing.assert_array_equal(pixels, RGB)


def test_a_path_is_the_picture_or_mask_of_its_file(tmp_path: Path):
    """Red when a path is refused, or a text is read letter by letter as masks."""
    picture, mask = tmp_path / "a.png", tmp_path / "mask.png"
    Image.fromarray(RGB).save(picture)
    Image.fromarray(MASK).save(mask)
    for path in (picture, str(picture)):
        np.testing.assert_array_equal(picture_pixels(path), RGB)
    for masks in (mask, str(mask), [str(mask)]):
        (region,) = region_masks(masks, RGB)
        np.testing.assert_array_equal(region, MASK)


def test_a_file_is_read_as_viewers_show_it(tmp_path: Path):
    """Red when a picture of a phone is asked about lying on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(picture_pixels(tmp_path / "a.png"), np.rot90(RGB, -1))


def test_transparency_is_laid_over_white():
    """Red when the colour behind a transparent pixel is shown."""
    clear = np.dstack([RGB, np.zeros_like(GREY)])
    assert (picture_pixels(clear) == 255).all()
    assert (picture_pixels(Image.fromarray(clear)) == 255).all()


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (RGB.astype(np.uint16), "uint16 picture whose highest value is 235: levels of 8 bits, or a dark"),
        (RGB - 300.0, "values from -300"),
        (RGB * np.nan, "values from nan to nan"),
        (RGB.astype(np.int32) * 3, "to 705, expected 0 to 1 or 0 to 255"),
        (np.moveaxis(RGB, 2, 0), r"shape \(3, 6, 8\)"),
        (RGB[None], r"shape \(1, 6, 8, 3\)"),
        (RGB[:0], r"shape \(0, 8, 3\)"),
        (RGB.astype(object), "picture of type object"),
        ("a.jpg", "a.jpg: picture: missing: no such file"),
        (b"a.jpg", "a bytes as a picture; give a path, an array"),
        (None, "a NoneType as a picture"),
        (Image.fromarray(GREY.astype(np.float32)), "picture of mode F"),
        (torch.zeros(6, 8, 3, requires_grad=True), "picture: a Tensor that is no array"),
        (torch.zeros(6, 8, 3, dtype=torch.bfloat16), "picture: a Tensor that is no array"),
    ],
)
def test_what_is_no_picture_is_named(picture: Any, reason: str):
    """Red when it is read as something, or ends in an error of torch."""
    with pytest.raises(InputError, match=reason):
        picture_pixels(picture)


def test_a_text_is_one_expression_and_an_empty_one_is_refused():
    """Red when a single text becomes a mask for each letter, or an empty one a mask of something."""
    assert expression_texts("the red circle") == expression_texts(("the red circle",)) == ["the red circle"]
    assert expression_texts([]) == []
    nothing = (None, "a NoneType as expressions; give a list")
    for texts, reason in (
        (["a", " "], "expression 1 is empty"), ("", "0 is empty"), ([5], "a int, expected a text"), nothing
    ):  # fmt: skip
        with pytest.raises(InputError, match=reason):
            expression_texts(texts)


@pytest.mark.parametrize(
    "masks",
    [[MASK], MASK, MASK[None], [MASK.astype(np.uint8)], [MASK * 255], [MASK * 1.0], (MASK,), Image.fromarray(MASK)],
    ids=["list", "one", "array", "0 and 1", "0 and 255", "floats", "tuple", "pillow"],
)
def test_every_form_of_a_mask_is_the_same(masks: Any):
    """Red when an array of masks is refused, or a mask of levels is taken for all of the picture."""
    (region,) = region_masks(masks, RGB)
    np.testing.assert_array_equal(region, MASK)


def test_masks_that_are_none_keep_their_place():
    """Red when captions move to the masks beside them."""
    regions = region_masks([None, MASK, None], RGB)
    assert [region is None for region in regions] == [True, False, True]
    assert region_masks([], RGB) == []


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.ones((12, 16), bool), r"mask 0 is bool of shape \(12, 16\), and the picture has 8 x 6 px"),
        ("mask.png", "mask.png: mask 0: missing: no such file"),
        (MASK - 2.0, "values from -2 to -1"),
        (MASK * 2, "mask 0 has no value above 2, so no object of 0 to 255; of a map of labels give one"),
    ],
)
def test_a_mask_that_does_not_fit_is_named(mask: Any, reason: str):
    """Red when a mask of another size is described as if it were the picture's."""
    with pytest.raises(InputError, match=reason):
        region_masks([mask], RGB)


def test_frames_are_of_one_size():
    """Red when frames of two sizes give masks of one."""
    assert len(frames_pixels(np.stack([RGB, RGB]))) == len(frames_pixels(iter([GREY, RGB]))) == 2
    with pytest.raises(InputError, match="frame 1 has 8 x 3 px and frame 0 8 x 6"):
        frames_pixels([RGB, RGB[:3]])
    with pytest.raises(InputError, match="without a frame"):
        frames_pixels([])


@pytest.mark.parametrize("picture", [RGB, Image.fromarray(RGB)], ids=["array", "pillow"])
def test_a_picture_is_no_clip(picture: Any):
    """Red when each row of an array is taken for a grey frame."""
    with pytest.raises(InputError, match="a single picture as a clip"):
        frames_pixels(picture)

"""Masks and captions at the pictures' own sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from sa2va_native.errors import InputError, PromptError
from sa2va_native.files.paths import ROOT
from sa2va_native.inference.sa2va_inference import SHOWN_FRAMES, Sa2VAInference
from sa2va_native.models.normalisation import normalise
from tests.tiny import tiny_sa2va

WIDE = (90, 150)


@pytest.fixture(scope="module")
def sa2va():
    return Sa2VAInference(tiny_sa2va())


@pytest.fixture(scope="module")
def picture():
    """A red disc on grey."""
    y, x = np.mgrid[: WIDE[0], : WIDE[1]]
    disc = (x - 100) ** 2 + (y - 40) ** 2 < 25**2
    image = np.full((*WIDE, 3), 128, np.uint8)
    image[disc] = (220, 30, 30)
    return image, disc


def test_an_object_is_found_in_a_picture_that_is_not_square(sa2va, picture):
    """Red when height and width are exchanged on the way back to the picture's size."""
    image, disc = picture
    mask, again = sa2va.segment_image(image, ["the large red circle", "the large red circle"])
    assert mask.shape == WIDE
    assert mask.dtype == bool
    assert np.array_equal(mask, again)
    assert (mask & disc).sum() / (mask | disc).sum() > 0.5


def test_a_clip_of_one_frame_is_a_picture(sa2va, picture):
    """Red when a prompted frame of a clip takes another way than a picture."""
    image, _ = picture
    (still,) = sa2va.segment_image(image, ["the large red circle"])
    assert np.array_equal(sa2va.segment_video([image], "the large red circle")[0], still)


def test_a_question_about_a_clip_shows_each_frame(sa2va, picture):
    """Red when the slots of the prompt are those of one picture: embedding them refuses."""
    prompts, image_tokens = sa2va.model.prompts, sa2va.model.prompts.image_tokens
    ids = prompts.ask_segment("the circle", pictures=SHOWN_FRAMES)
    assert int((ids == prompts.image_id).sum()) == SHOWN_FRAMES * image_tokens
    sa2va.segment_video([picture[0]] * (SHOWN_FRAMES + 1), "the large red circle")


def test_only_frames_without_prompt_see_the_memory(sa2va):
    """Prompted frames do not depend on the others; later ones depend on what is remembered, in any order of prompts."""
    grounding, draw = sa2va.model.grounding, torch.Generator().manual_seed(0)
    frames = list(torch.randn(4, 3, 128, 128, generator=draw))
    one, other = torch.randn(2, grounding.prompt_size, generator=draw)
    masks = grounding.track(frames, {0: one, 1: one})
    assert torch.equal(masks[:2], grounding.track(frames[:2], {1: one, 0: one}))
    changed = grounding.track(frames, {0: other, 1: one})
    assert torch.equal(changed[1], masks[1])
    assert not torch.allclose(changed[2], masks[2])
    assert not torch.allclose(changed[3], masks[3])


def test_each_region_is_described(sa2va, picture):
    """The shipped captioner is sure of sizes. Red when all regions are described from one mask."""
    image, disc = picture
    small = np.zeros(WIDE, bool)
    small[70:82, 10:30] = True
    large, little = sa2va.caption_regions(image, [disc, small])
    assert "large" in large
    assert "small" in little
    with pytest.raises(PromptError, match="0 cells"):
        sa2va.caption_regions(image, [np.zeros(WIDE, bool)])


def test_the_mode_of_the_model_is_left_alone(sa2va, picture):
    sa2va.model.train()
    sa2va.segment_image(picture[0], ["the large red circle"])
    assert sa2va.model.training
    sa2va.model.eval()


def test_calls_without_anything_to_do_do_nothing(sa2va, picture):
    """Red when no expression or no region is an error of torch, or captions lose their place beside None."""
    image, disc = picture
    assert sa2va.segment_image(image, []) == []
    assert sa2va.caption_regions(image, []) == []
    assert sa2va.caption_regions(image, [None]) == [None]
    (caption,) = sa2va.caption_regions(image, disc[None])
    assert sa2va.caption_regions(image, [None, disc, None]) == [None, caption, None]
    (mask,) = sa2va.segment_image(image, "the large red circle")
    assert np.array_equal(mask, sa2va.segment_image(image, ["the large red circle"])[0])
    for call in (lambda: sa2va.segment_video([], "it"), lambda: sa2va.segment_video([image], ["a", "b"])):
        with pytest.raises(InputError):
            call()


def test_a_given_mask_is_followed_as_sam2_does():
    """Against transformers' own video loop, whose memory must be narrower than its prompts, unlike the tiny model's.

    Red when the given mask, its memory or the frames after it are treated otherwise than by SAM 2.
    """
    torch.manual_seed(0)
    config = Config.fromfile(ROOT / "configs/sa2va_tiny.py").model.grounding
    config.update(dict.fromkeys(("memory_attention_hidden_size", "memory_encoder_hidden_size"), 128))
    config.update(dict.fromkeys(("mask_downsampler_embed_dim", "memory_fuser_embed_dim"), 128))
    config.vision_config.fpn_hidden_size = 128
    config.prompt_encoder_config.hidden_size = config.mask_decoder_config.hidden_size = 128
    grounding = MODELS.build(config).eval()
    frames, mask = list(torch.randn(4, 3, 128, 128)), torch.zeros(128, 128, dtype=torch.bool)
    mask[20:60, 40:100] = True
    session = Sam2VideoInferenceSession(torch.stack(frames), video_height=128, video_width=128, dtype=torch.float32)
    session.add_mask_inputs(session.obj_id_to_idx(0), 0, mask[None, None])
    session.obj_with_new_inputs = [0]
    with torch.no_grad():
        true = torch.cat([grounding.sam2(session, frame_idx=index).pred_masks[0] for index in range(4)])
    torch.testing.assert_close(grounding.follow(frames, mask), true)


@pytest.fixture
def untrained():
    """Random weights, whose masks differ by prompt; sure of an object, as transformers' forward blanks others."""
    torch.manual_seed(0)
    model = tiny_sa2va(weights=None)
    model.grounding.sam2.mask_decoder.pred_obj_score_head.proj_out.bias.data.fill_(100)
    return Sa2VAInference(model)


def test_boxes_and_points_are_those_of_sam2(untrained, picture):
    """Against transformers' own forward. Red when pixels are scaled or shifted otherwise, or labels are exchanged."""
    image, _ = picture
    height, width = WIDE
    scale = np.array([128 / width, 128 / height])
    box, points, labels = (75, 15, 125, 65), [(100.0, 40.0), (10.0, 10.0)], [1, 0]

    def transformers(**prompts):
        sam2 = untrained.model.grounding.sam2
        pixels = normalise(untrained._sides([image]).grounding_pixels)
        output = sam2._single_frame_forward(pixel_values=pixels, multimask_output=True, **prompts)
        logits = F.interpolate(output.pred_masks, WIDE, mode="bilinear", align_corners=False)
        return (logits[0, 0] > 0).numpy()

    def tensor(values):
        return torch.tensor(np.reshape(values, (1, 1, -1, 2)) * scale, dtype=torch.float32)

    with torch.no_grad():
        boxed = transformers(input_boxes=tensor(box).view(1, 1, 4))
        clicked = transformers(input_points=tensor(points), input_labels=torch.tensor([[labels]]))
        once = transformers(input_points=tensor(points[0]), input_labels=torch.tensor([[[1]]]))
    assert np.array_equal(untrained.region_from_box(image, box), boxed)
    assert np.array_equal(untrained.region_from_points(image, points, labels), clicked)
    assert np.array_equal(untrained.region_from_points(image, points[0]), once)
    assert len({mask.tobytes() for mask in (boxed, clicked, once)}) == 3, "prompts that are alike show nothing"


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((10, 10, 10, 20), r"box \[10, 10, 10, 20\] is empty"),
        ((20, 10, 10, 20), "is empty; give x0, y0, x1, y1 with x0 < x1"),
        ((-1, 0, 10, 10), "leaves the picture of 150 x 90 px"),
        ((0, 0, 150, 91), "leaves the picture of 150 x 90 px"),
        ((1, 2, 3), r"box of shape \(3,\); give one box"),
        ((1, 2, 3, float("nan")), "not a finite number"),
        ("1,2,3,4", "box '1,2,3,4': expected numbers"),
        (None, "box None: not a finite number"),
    ],
)
def test_a_box_that_cannot_be_is_named(sa2va, picture, box, reason):
    """Red when it is clipped, turned round or taken for another one."""
    with pytest.raises(InputError, match=reason):
        sa2va.region_from_box(picture[0], box)


@pytest.mark.parametrize(
    ("points", "labels", "reason"),
    [
        ((150, 10), None, "point 150, 10 is outside the picture of 150 x 90 px"),
        ([(1, 1), (1, -1)], None, "point 1, -1 is outside"),
        ([], None, "give at least one pair x, y"),
        ([(1, 2, 3)], None, r"points of shape \(1, 3\)"),
        ([(1, 1)], [1, 0], r"labels \[1, 0\] of 1 points"),
        ([(1, 1)], [2], r"labels \[2\] of 1 points; give 1 \(on\) or 0"),
        ([(1, 1)], [0], "every point is beside the object"),
    ],
)
def test_points_that_cannot_be_are_named(sa2va, picture, points, labels, reason):
    """Red when a point outside means the nearest one inside, or a label of a box's corner is let through."""
    with pytest.raises(InputError, match=reason):
        sa2va.region_from_points(picture[0], points, labels)


def test_a_caption_leads_back(sa2va, picture):
    """Red when a caption is looked for that is not the region's, or a region that is None moves the others."""
    image, disc = picture
    small = np.zeros(WIDE, bool)
    small[70:82, 10:30] = True
    none, large, little = sa2va.lead_back(image, [None, disc, small])
    assert none is None
    assert [large.caption, little.caption] == sa2va.caption_regions(image, [disc, small])
    for led, region in ((large, disc), (little, small)):
        (mask,) = sa2va.segment_image(image, led.caption)
        assert np.array_equal(led.mask, mask)
        assert led.iou == (mask & region).sum() / (mask | region).sum()


def test_an_empty_caption_leads_nowhere(sa2va, picture, monkeypatch):
    """Red when it is refused as an empty expression, or the next region's mask is taken for its own."""
    image, disc = picture
    monkeypatch.setattr(sa2va, "caption_regions", lambda image, masks: ["", "the large red circle"])
    empty, full = sa2va.lead_back(image, [disc, disc])
    assert empty == ("", None, 0.0)
    assert full.iou > 0.5

"""What the page shows of a model's answers."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from pseudo_gumbel.web.answers import Answer, NamedModel, describe, find
from pseudo_gumbel.web.cards import answer_cards, picture_url, sentence
from pseudo_gumbel.web.drawings import SHOWN, draw_answer
from pseudo_gumbel.web.examples import CLIP, FRAMES, PICTURES, SIDE, SPLIT, Example, examples
from sa2va_native.datasets.scenes.scene import make_scene
from sa2va_native.evaluation.drawing import PREDICTED, REGION
from sa2va_native.inference.sa2va_inference import Sa2VAInference
from tests.tiny import tiny_sa2va


@pytest.fixture(scope="module")
def model() -> NamedModel:
    return NamedModel("tiny", Sa2VAInference(tiny_sa2va()))


@pytest.fixture(scope="module")
def tried() -> list[Example]:
    return examples()


def half(left: bool, size: int = 40) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[:, : size // 2] = left
    mask[:, size // 2 :] = not left
    return mask


def answer(**fields: object) -> Answer:
    given = dict(model="tiny", text="a ring", frames=[np.zeros((40, 40, 3), np.uint8)], found=half(True)[None])
    return Answer(**{**given, **fields})  # type: ignore[arg-type]


def shown(page: str) -> list[Image.Image]:
    """The pictures of a piece of HTML."""
    urls = re.findall(r'src="data:image/webp;base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(url))) for url in urls]


def test_a_region_is_described_and_its_caption_looked_for(model: NamedModel, tried: list[Example]) -> None:
    """Red when the mask is that of another text than the caption that is shown, or the IoU of other masks."""
    example = tried[0]
    region = example.objects[np.argmax([one[:200, 300:].sum() for one in example.objects])]
    told = describe(model, example.frames, region)
    (again,) = model.sa2va.lead_back(example.frames[0], [region])
    assert again is not None
    assert again.mask is not None
    assert told.text == again.caption
    assert told.found is not None
    assert (told.found[0] == again.mask).all()
    assert told.iou == again.iou
    assert told.iou > 0.5, "the ring of the first example is found again, or the page shows nothing"


def test_an_expression_is_followed_through_a_clip(model: NamedModel, tried: list[Example]) -> None:
    """Red when a clip's frames are asked about one by one, or only the first is."""
    clip = tried[-1]
    found = find(model, clip.frames, clip.expression)
    expected = model.sa2va.segment_video(clip.frames, clip.expression)
    assert expected is not None
    assert found.found is not None
    assert (found.found == expected).all()
    assert found.seen_in == FRAMES == len(found.found)
    assert found.iou is None


def test_words_that_are_not_read_are_told(model: NamedModel, tried: list[Example]) -> None:
    """Red when "the teddy ring" is answered as "the ring" without a word."""
    found = find(model, tried[0].frames, "the teddy ring with ribbons")
    assert found.unread == ["teddy", "with", "ribbons"]
    assert "does not know the words: teddy, with, ribbons." in answer_cards([found])
    assert "does not know" not in answer_cards([find(model, tried[0].frames, "the ring")])


def test_figures_of_an_answer() -> None:
    """Red when an answer without a mask counts as a perfect one, or frames without an object as seen."""
    assert answer(region=half(True)).iou == 1
    assert answer(region=half(False)).iou == 0
    assert answer(region=half(True), found=None).iou == 0
    assert answer().iou is None
    assert answer().share == 0.5
    assert answer(found=np.stack([half(True), half(True) & False])).seen_in == 1


def test_the_clip_goes_from_the_first_frame_to_the_second(tried: list[Example]) -> None:
    """Red when the way between the frames is not straight: its ends are then not those of the scene."""
    clip = tried[-1]
    scene = make_scene(0, SPLIT, CLIP, side=SIDE)
    assert len(clip.frames) == FRAMES
    assert (clip.frames[0] == scene.render().image).all()
    assert (clip.frames[-1] == scene.render(2).image).all()


def test_examples_state_true_expressions(tried: list[Example]) -> None:
    """Red when an example's expression is of another scene, or its objects are of another frame."""
    for example, index in zip(tried, (*PICTURES, CLIP), strict=True):
        scene = make_scene(0, SPLIT, index, side=SIDE)
        assert example.expression in scene.expressions[0]
        assert (example.objects == scene.render().masks).all()


def test_what_was_found_stays_as_it_is_and_the_rest_pales() -> None:
    """Red when the inverse of the mask is shown, or a mask is drawn that is not there."""
    frame = np.full((200, 200, 3), 40, np.uint8)
    (drawn,) = draw_answer(answer(frames=[frame], found=half(True, 200)[None], region=half(False, 200)))
    pixels = np.asarray(drawn)
    assert (pixels[100, 50] == 40).all()
    assert (pixels[100, 150] > 150).all()
    assert tuple(pixels[100, 98]) == PREDICTED
    assert tuple(pixels[100, 101]) == REGION
    (untouched,) = draw_answer(answer(frames=[frame], found=None))
    assert (np.asarray(untouched) == 40).all()


def test_a_long_clip_is_thinned_and_a_large_picture_is_made_smaller() -> None:
    """Red when a clip of hundreds of large frames is sent to the browser, or its last frame is lost."""
    frames = [np.full((90, 180, 3), value, np.uint8) for value in range(60)]
    drawn = draw_answer(answer(frames=frames, found=np.ones((60, 90, 180), bool)), side=72)
    assert len(drawn) == SHOWN
    assert drawn[0].size == (72, 36)
    assert [picture.getpixel((36, 18)) for picture in (drawn[0], drawn[-1])] == [(0, 0, 0), (59, 59, 59)]


def test_cards_show_a_picture_for_each_model_and_a_frame_for_each_frame() -> None:
    """Red when both cards show the first model's mask, or a clip stands still."""
    frames = [np.full((40, 40, 3), value, np.uint8) for value in (0, 90, 180)]
    clip = np.stack([half(True)] * 3)
    before = answer(model="before", frames=frames, found=clip)
    after = answer(model="after", frames=frames, found=~clip)
    pictures = shown(answer_cards([before, after]))
    assert [getattr(picture, "n_frames", 1) for picture in pictures] == [3, 3]
    assert not np.array_equal(*(np.asarray(picture.convert("RGB")) for picture in pictures))


def test_text_from_outside_is_escaped() -> None:
    """Red when an expression, a model's name or an error can put a script into the page."""
    evil = "<script>alert(1)</script>"
    page = answer_cards([answer(model=evil, text=evil), answer(model=evil, text=evil)]) + sentence(evil)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 7  # title, words and description of each picture, and the sentence


def test_an_error_is_one_line() -> None:
    """Red when a report of many lines, as of weights, breaks the page's sentence."""
    assert sentence("one\ntwo") == '<p class="pg-sentence" role="alert">one two</p>'


def test_a_picture_is_sent_as_it_is() -> None:
    """Red when the colours of the picture in the page are exchanged."""
    (picture,) = shown(f'<img src="{picture_url(np.full((30, 50, 3), (200, 40, 90), np.uint8))}">')
    assert picture.size == (50, 30)
    assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - (200, 40, 90)).max() < 6

"""The page in a real browser: a click, the caption that is read, the mask that is seen."""

from __future__ import annotations

import base64
import io
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pseudo_gumbel.load_inference import load_inference
from pseudo_gumbel.web.answers import NamedModel, describe
from pseudo_gumbel.web.drawings import draw_answer
from pseudo_gumbel.web.examples import examples
from tests.browser import ROOT, click, missing, opened, place_of, served

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]
DESKTOP, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served() as address:
        yield address


def told(page: Any) -> str:
    return page.locator("#pg-answer").inner_text()


def answer_picture(page: Any) -> np.ndarray:
    """The picture of the first card, (H, W, 3)."""
    _, _, data = page.locator(".pg-card img").first.get_attribute("src").partition("base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_click_is_described_and_the_mask_is_seen(url: str, size: tuple[int, int]) -> None:
    """Red when a click does not reach the model, a caption or mask is not that of the clicked object, a script fails,
    something is asked of another machine, or the page is wider than a phone.
    """
    scene = examples()[0]
    expected = describe(NamedModel("", load_inference()), scene.frames, scene.objects[0])
    (drawn,) = draw_answer(expected)
    with opened(url, *size) as (page, faults):
        click(page, place_of(scene, 0))
        assert str(expected.text) in told(page)
        assert f"{expected.iou:.2f}" in told(page)
        assert np.abs(answer_picture(page) - np.asarray(drawn)).mean() < 4, "apart from what WebP leaves out"
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert not faults


def test_box_paint_expression_clip_and_errors(url: str, tmp_path: Path) -> None:
    """Red when one of the other ways to ask gives no answer, or an error is more than a sentence."""
    scene, clip = examples()[0], examples()[-1]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    Image.new("RGB", (300, 200), "grey").save(tmp_path / "own.png")
    with opened(url, *DESKTOP) as (page, faults):
        stage = page.locator(".pg-stage img").bounding_box()

        def at(x: float, y: float) -> tuple[float, float]:
            return stage["x"] + x * stage["width"], stage["y"] + y * stage["height"]

        def drag(*places: tuple[float, float]) -> None:
            page.mouse.move(*at(*places[0]))
            page.mouse.down()
            for place in places[1:]:
                page.mouse.move(*at(*place))
            page.mouse.up()

        page.locator("button#pg-find").click()
        page.wait_for_selector(".pg-card >> text=The model looks for")
        assert scene.expression in told(page)

        rows, columns = scene.objects[2].nonzero()
        side = len(scene.objects[2])
        drag((columns.min() / side, rows.min() / side), (columns.max() / side, rows.max() / side))
        page.wait_for_selector(".pg-card >> text=The model says")
        boxed = told(page)
        page.locator(".pg-examples button").nth(0).click()  # the answer is forgotten
        page.wait_for_selector(".pg-hint")
        click(page, place_of(scene, 2))
        assert told(page) == boxed, "a box around an object means the object"

        page.locator("[data-tool=paint]").click()
        drag((0.2, 0.6), (0.3, 0.65), (0.25, 0.7))
        page.wait_for_function("(before) => document.querySelector('#pg-answer').innerText !== before", arg=boxed)
        assert "The model says" in told(page)

        page.locator("#pg-files input[type=file]").set_input_files(tmp_path / "broken.png")
        page.wait_for_selector(".pg-sentence")
        assert "broken.png" in told(page)
        assert "\n" not in told(page).strip()
        page.locator("#pg-files input[type=file]").set_input_files(tmp_path / "own.png")
        page.wait_for_selector(".pg-hint")

        page.locator(".pg-examples button").nth(4).click()
        page.wait_for_function(
            "(text) => document.querySelector('#pg-expression textarea, #pg-expression input').value === text",
            arg=clip.expression,
        )
        page.locator("button#pg-find").click()
        page.wait_for_selector("text=Seen in 5 of 5 frames")
        assert not faults


def test_two_models_stand_side_by_side() -> None:
    """Red when ``--compare`` shows one answer, or the same model twice."""
    with served("--compare", "sa2va_tiny", "pseudo_gumbel_tiny") as url, opened(url, *DESKTOP) as (page, faults):
        click(page, place_of(examples()[0], 0))
        cards = page.locator(".pg-card")
        assert cards.locator("h3").all_inner_texts() == ["sa2va_tiny says", "pseudo_gumbel_tiny says"]
        left, right = cards.nth(0).bounding_box(), cards.nth(1).bounding_box()
        assert left["y"] == right["y"]
        assert left["x"] + left["width"] <= right["x"]
        assert not faults


def test_a_taken_port_is_one_line() -> None:
    """Red when a port that another program uses ends in a traceback, or another one is taken without a word."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "tools/web.py", "--port", port], cwd=ROOT, capture_output=True, text=True, timeout=300
        )
    assert done.returncode == 1
    assert f"--port {port} cannot be used" in done.stderr
    assert "Traceback" not in done.stderr

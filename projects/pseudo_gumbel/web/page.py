"""The page itself, made with Gradio: everything that it shows is computed by the modules beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from pseudo_gumbel.web.answers import Answer, NamedModel, describe, find
from pseudo_gumbel.web.cards import about, answer_cards, hint, picture_url, sentence, thumbnails
from pseudo_gumbel.web.examples import examples
from pseudo_gumbel.web.marks import read_mark, region_of
from pseudo_gumbel.web.uploads import read_files
from sa2va_native.errors import Sa2VAError

_HERE = Path(__file__).parent
INTRODUCTION = """\
# Ask the model
**Mark an object**: the model describes it, and its own words must lead back to it. Or **name an object**, and it is
found.
"""
HINT = "Click an object in the picture, drag a box around it, or paint it. What the model says about it appears here."
SCENES = "Try a scene, or the clip. A click takes the object that was drawn there."
FILES = (
    "Or your own picture, video or frames; they stay on this machine. There SAM 2 makes the region of a click or box. "
    "The tiny one has not learnt it: paint."
)
_CHOOSE = """\
element.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (button) trigger('select', {number: button.dataset.number});
});
"""


def build(models: Sequence[NamedModel]) -> gr.Blocks:
    """The page.

    Args:
        models: that answer; several stand side by side, and the SAM 2 of the first makes the region.
    """
    shown = examples()
    first = shown[0]

    def choose(event: gr.EventData) -> tuple[Any, ...]:
        example = shown[int(event.number)]
        material = example.frames, example.objects, picture_url(example.frames[0])
        return *material, example.expression, hint(HINT)

    def upload(files: list[str]) -> tuple[Any, ...]:
        try:
            frames = read_files([Path(file) for file in files])
        except Exception as error:
            return gr.skip(), gr.skip(), gr.skip(), _said(error), None
        return frames, (), picture_url(frames[0]), hint(HINT), None  # the next files take the place of these

    def mark(frames: Sequence[np.ndarray], objects: Sequence[np.ndarray], event: gr.EventData) -> str:
        def answers() -> list[Answer]:
            region = region_of(read_mark(event._data), frames[0], models[0].sa2va, objects)
            return [describe(model, frames, region) for model in models]

        return _shown(answers)

    def name(frames: Sequence[np.ndarray], expression: str) -> str:
        return _shown(lambda: [find(model, frames, expression) for model in models])

    with gr.Blocks(title="pseudo-gumbel", analytics_enabled=False, fill_width=True) as page:
        frames, objects = gr.State(first.frames), gr.State(first.objects)
        gr.Markdown(INTRODUCTION, elem_id="pg-introduction")
        gr.HTML(about(("models: " if len(models) > 1 else "model: ") + ", ".join(model.name for model in models)))
        with gr.Row(equal_height=False, elem_id="pg-board"):
            with gr.Column(elem_id="pg-question"):
                picture = gr.HTML(
                    picture_url(first.frames[0]),
                    elem_id="pg-picture",
                    html_template=(_HERE / "picture.html").read_text("utf-8"),
                    js_on_load=(_HERE / "picture.js").read_text("utf-8"),
                )
                with gr.Row():
                    expression = gr.Textbox(
                        first.expression, placeholder="the red circle", show_label=False, container=False, max_lines=1,
                        scale=4, min_width=160, elem_id="pg-expression",
                    )  # fmt: skip
                    button = gr.Button("Find it", variant="primary", scale=1, min_width=90, elem_id="pg-find")
            with gr.Column(elem_id="pg-told"):
                answer = gr.HTML(hint(HINT), elem_id="pg-answer")
            with gr.Column(elem_id="pg-material"):
                gr.HTML(about(SCENES))
                chosen = gr.HTML(thumbnails(shown), elem_id="pg-examples", js_on_load=_CHOOSE)
                gr.HTML(about(FILES))
                files = gr.File(
                    file_count="multiple", file_types=["image", "video"], show_label=False, height=120,
                    elem_id="pg-files",
                )  # fmt: skip

        # One question at a time: the models are not made to be called from several threads.
        options: dict[str, Any] = dict(concurrency_limit=1, concurrency_id="model", api_visibility="private")
        picture.select(mark, [frames, objects], answer, **options)
        button.click(name, [frames, expression], answer, **options)
        expression.submit(name, [frames, expression], answer, **options)
        chosen.select(choose, None, [frames, objects, picture, expression, answer], **options)
        files.upload(upload, files, [frames, objects, picture, answer, files], **options)
    return page


def theme() -> gr.themes.Base:
    """Fonts of the reader's own system: nothing is fetched."""
    return gr.themes.Default(
        primary_hue="orange",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(body_text_color_subdued="*neutral_500", body_text_color_subdued_dark="*neutral_400")


def css() -> str:
    """The page's own style."""
    return (_HERE / "page.css").read_text("utf-8")


def _shown(answers: Callable[[], list[Answer]]) -> str:
    """The cards of what ``answers`` gives, or its error as a sentence: the page never shows a traceback."""
    try:
        return answer_cards(answers())
    except Exception as error:
        return _said(error)


def _said(error: Exception) -> str:
    if isinstance(error, Sa2VAError):
        return sentence(str(error))
    logging.getLogger(__name__).exception("a question to the model failed")
    return sentence(f"{type(error).__name__}: {error}. The terminal shows where.")

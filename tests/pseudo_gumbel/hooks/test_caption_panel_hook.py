"""The panel hook asks the model for one recorded step and shows it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from PIL import Image
from torch import nn

from pseudo_gumbel.estimators import StraightThroughGumbel, WordTrials
from pseudo_gumbel.estimators.word_trials import posterior
from pseudo_gumbel.gumbel import hard_words
from pseudo_gumbel.hooks.caption_panel_hook import CaptionPanelHook, likeliest, said, trials_of
from pseudo_gumbel.step import Captions, CycleStep
from sa2va_native.structures import Side
from tests.tiny import cycle_step


class Wrapper:
    """The parts of MMEngine's optimizer wrapper that count."""

    _accumulative_counts = 2
    _max_counts = -1
    inner_count = 0

    def should_update(self) -> bool:
        return self.inner_count % 2 == 0


def make_runner(work_dir: Path) -> Any:
    images: list[tuple[str, np.ndarray, int]] = []
    model = nn.Linear(1, 1)
    model.last_step = None  # type: ignore[assignment]
    model.record_next_step = False  # type: ignore[assignment]
    model.estimator = StraightThroughGumbel()  # type: ignore[assignment]
    model.student = SimpleNamespace(prompts=SimpleNamespace(decode=decode))  # type: ignore[assignment]
    return SimpleNamespace(
        model=model,
        optim_wrapper=Wrapper(),
        iter=0,
        work_dir=str(work_dir),
        message_hub=MessageHub.get_instance(f"panel_{work_dir.name}"),
        images=images,
        visualizer=SimpleNamespace(add_image=lambda name, image, step: images.append((name, image, step))),
    )


VOCABULARY = ["a", "dog", "cat"]
A, DOG, CAT = range(3)


def decode(ids: torch.Tensor) -> str:
    return " ".join(VOCABULARY[i] for i in ids)


def record(readings: int = 1, stop: Sequence[int] = ()) -> CycleStep:
    """The teacher says "a dog" and "a cat a cat"; the student would say "a cat" and "a cat dog dog", and reads that."""
    mask = torch.zeros(2, 16, 16)
    mask[:, 4:12, 4:12] = 1
    side1, side2 = (
        Side(torch.full((2, 3, 32, 32), grey, dtype=torch.uint8), torch.empty(0), torch.empty(0), mask)
        for grey in (90, 200)
    )
    captions = Captions([torch.tensor([A, DOG]), torch.tensor([A, CAT, A, CAT])], [True, False])
    ids = torch.tensor([[A, CAT, A, A], [A, CAT, DOG, DOG]])
    logits = 9.0 * torch.nn.functional.one_hot(ids, 3)
    words = hard_words(ids.repeat_interleave(readings, 0), torch.zeros(2 * readings, 4))
    mask_logits = (4 * mask - 2).repeat_interleave(readings, 0)
    logits = torch.nn.functional.pad(logits, (0, 0, 0, len(stop)))
    step = cycle_step(logits, captions, stop, readings, words=words, mask_logits=mask_logits)
    step.batch = step.batch._replace(caption_side=side1, mask_side=side2)
    return step


def run(hook: CaptionPanelHook, runner: Any, kinds: list[str]) -> list[int]:
    """Feeds micro-batches; returns the iterations that the model recorded."""
    recorded = []
    for kind in kinds:
        hook.before_train_iter(runner, runner.iter)
        if runner.model.record_next_step and kind == "cycle":
            runner.model.record_next_step = False
            runner.model.last_step = record()
            recorded.append(runner.iter)
        runner.optim_wrapper.inner_count += 1
        hook.after_train_iter(runner, runner.iter)
        runner.iter += 1
    return recorded


def test_one_panel_per_interval_of_optimizer_steps(tmp_path: Path) -> None:
    """Red for a panel every micro-batch, a request lost on human expressions, or another number elsewhere."""
    runner = make_runner(tmp_path)
    assert run(CaptionPanelHook(interval=2), runner, ["refer", "cycle"] * 4) == [1, 5]
    assert sorted(path.name for path in (tmp_path / "panels").iterdir()) == ["step_000001.png", "step_000003.png"]
    assert [step for _, _, step in runner.images] == [1, 3]
    saved = np.asarray(Image.open(tmp_path / "panels" / "step_000001.png"))
    assert np.array_equal(saved, runner.images[0][1])


def test_scalars_are_logged(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    run(CaptionPanelHook(interval=1), runner, ["cycle"])
    logged = {
        name.removeprefix("train/caption/"): buffer.current() for name, buffer in runner.message_hub.log_scalars.items()
    }
    assert logged == pytest.approx(
        {"length": 3, "stop_rate": 0.5, "distinct_1": 0.5, "distinct_2": 0.75, "agreement": 0.5}
    )


@pytest.mark.parametrize("stop", [[], [DOG, DOG]])
@pytest.mark.parametrize("readings", [1, 3])
def test_what_was_said_is_decoded_without_padding(readings: int, stop: list[int]) -> None:
    """Red when padding or a stop word counts or is shown, or a reading of sample 1 passes for sample 2's."""
    assert said(record(readings, stop), decode) == (["a dog", "a cat a cat"], ["a cat", "a cat dog dog"], 0.5)


def test_a_batch_that_says_nothing_agrees_in_nothing() -> None:
    step = record()
    nothing = cycle_step(step.logits, Captions([torch.tensor([]).long()] * 2, [True, True]), words=step.words)
    assert said(nothing, decode) == (["", ""], ["", ""], 0.0)


def test_pictures_are_shown_in_their_colours(tmp_path: Path) -> None:
    """Red when a picture is shown as floats, whose values would wrap round."""
    hook = CaptionPanelHook()
    panel = hook.draw(record(), said(record(), decode), 1)
    assert (panel == 90).all(-1).any()
    assert (panel == 200).all(-1).any()


def tried_record(captions: Sequence[Sequence[int]] = ((A, DOG), (A, CAT, A, CAT))) -> tuple[CycleStep, Any]:
    """Three words tried in each caption, of which the readings of sample 0 draw all, the object, nothing."""
    estimator = WordTrials(candidates=3, beta=0.5, min_p=0.0)
    captions_of = Captions([torch.tensor(ids, dtype=torch.long) for ids in captions], [True, False])
    length = max(map(len, captions))
    prior = torch.tensor([2.0, 1.0, 0.0]).log_softmax(0)  # the words in their order
    step = record(readings=3)
    logits = prior.expand(2, length, 3)
    whole = cycle_step(logits, captions_of, readings=3, teacher_logits=logits)
    whole.batch = step.batch
    drawn = torch.stack([torch.full((16, 16), 3.0), 4 * step.side2.mask[0] - 2, torch.full((16, 16), -3.0)])
    whole.words = estimator.words(whole)
    whole.mask_logits = torch.cat([drawn, torch.zeros_like(drawn)])
    whole.costs = {"loss": torch.tensor([1.0, 0.25, 0.5, 9.0, 9.0, 9.0])}
    model = SimpleNamespace(estimator=estimator, student=SimpleNamespace(prompts=SimpleNamespace(decode=decode)))
    return whole, model


def test_tried_words_come_with_their_own_masks_and_figures() -> None:
    """Red when a reading of another sample or another word's is shown, or a cost of the wrong row."""
    step, model = tried_record()
    (trial,) = trials_of(step, model)
    assert [word.text for word in trial.words] == VOCABULARY
    prior = torch.tensor([2.0, 1.0, 0.0]).softmax(0)
    assert [word.prior for word in trial.words] == pytest.approx(prior.tolist())
    expected = posterior(prior.log()[None], torch.tensor([[1.0, 0.25, 0.5]]), 0.5, 0.0)[0]
    assert [word.posterior for word in trial.words] == pytest.approx(expected.tolist())
    assert [word.cost for word in trial.words] == [1.0, 0.25, 0.5]
    assert [word.iou for word in trial.words] == pytest.approx([1 / 4, 1, 0])
    for word, logits in zip(trial.words, step.mask_logits, strict=False):
        assert np.allclose(word.mask, logits.sigmoid())


def test_the_marked_place_is_the_word_that_was_exchanged() -> None:
    """Red when the place of another sample is marked, or characters are counted as tokens."""
    step, model = tried_record()
    position = int(model.estimator.trial(step).positions[0])
    (trial,) = trials_of(step, model)
    begin, end = trial.place
    assert decode(step.captions.ids[0])[begin:end].strip() == ["a", "dog"][position]
    assert likeliest(step, decode) == ["a a", "a a a a"]


@pytest.mark.parametrize("captions", [((), (A,)), ((), ()), ((DOG,), ())])
def test_panels_of_short_and_silent_captions(tmp_path: Path, captions: Sequence[Sequence[int]]) -> None:
    """Red when an empty caption has a tried word, or cannot be drawn."""
    step, model = tried_record(captions)
    trials = trials_of(step, model)
    assert len(trials) == bool(captions[0])
    words = said(step, decode)
    plain, panel = (CaptionPanelHook().draw(step, words, 1, shown) for shown in ((), trials))
    assert panel.shape[1] == plain.shape[1]
    assert (panel.shape[0] > plain.shape[0]) == bool(captions[0])


def test_a_run_with_trials_shows_the_students_own_words(tmp_path: Path) -> None:
    """Red when the hook draws no trials, or the teacher's words pass for the student's."""
    runner = make_runner(tmp_path)
    step, model = tried_record()
    runner.model.estimator, hook = model.estimator, CaptionPanelHook()
    hook.before_train_iter(runner, 0)
    runner.model.last_step, runner.optim_wrapper.inner_count = step, 1
    hook.after_train_iter(runner, 0)
    words = said(step, decode)._replace(student=likeliest(step, decode))
    expected = hook.draw(step, words, 1, trials_of(step, model))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "panels" / "step_000001.png")), expected)

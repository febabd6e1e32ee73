"""Captions as referring expressions: which are kept, and what is learnt from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from pseudo_gumbel.costs import UncertainPointCost
from pseudo_gumbel.costs.iou import iou
from pseudo_gumbel.readers import StudentReader
from pseudo_gumbel.refer_back import ReferBack
from pseudo_gumbel.step import Captions
from pseudo_gumbel.teacher import EMATeacher
from sa2va_native.errors import ConfigError
from tests.tiny import part_of, tiny_batch, tiny_pseudo_gumbel

POINTS = dict(type=UncertainPointCost, num_points=196)


@pytest.fixture(scope="module")
def built() -> Any:
    return tiny_pseudo_gumbel("word_trials_refer_back_tiny")


@pytest.fixture
def model(built: Any) -> Iterator[Any]:
    built.zero_grad(set_to_none=True)
    built.teacher, regularizers, method = EMATeacher(built), built.regularizers, built.teacher_captions
    yield built
    built.regularizers, built.teacher, built.teacher_captions = regularizers, None, method


def losses_and_step(model: Any, batch: Any, **options: Any) -> tuple[dict[str, torch.Tensor], Any]:
    model.regularizers, model.record_next_step = [ReferBack(**{"weight": 1.0, **options})], True
    return model(batch, mode="loss"), model.last_step


def test_a_kept_caption_is_trained_as_a_human_expression_is(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when other words, another picture's mask or other points are learnt than in a batch of expressions."""
    batch = tiny_batch("cycle", 2, two_frames=True)
    losses, step = losses_and_step(model, batch, weight=0.5, min_iou=0.0, cost=POINTS)
    kept = ReferBack(1.0, 0.0).leads_back(step.rereading(model.reader, gradient=False))
    ask, ids = model.student.prompts.ask_segment, dict(zip("ab", step.captions.ids, strict=True))
    monkeypatch.setattr(model.student.prompts, "ask_segment", lambda text, question: ask(ids[text], question))
    referring = batch._replace(kind="refer", text=["a", "b"])
    each = [model.student(part_of(referring, slice(row, row + 1)), mode="loss") for row in range(2)]
    expected = sum(float(keep) * (one["loss_mask"] + one["loss_dice"]) for keep, one in zip(kept, each, strict=True))
    assert kept.any()
    assert float(losses["referred_back"]) == kept.float().mean()
    torch.testing.assert_close(losses["loss_refer_back"], 0.5 * expected / 2, rtol=1e-4, atol=1e-5)


def test_it_is_the_teacher_who_must_find_the_object(model: Any) -> None:
    """Red when the student's own mask decides, which it can make true by its own code."""
    batch = tiny_batch("cycle", 2)
    teachers, step = losses_and_step(model, batch, min_iou=0.0)
    assert float(teachers["referred_back"]) > 0
    for name, shadow in model.teacher.shadow.items():
        if "text_hidden_fcs" in name:
            shadow.zero_()  # a teacher who understands nothing
    found = iou(step.rereading(model.reader, gradient=False).mask_logits, step.masks[::8])
    losses, _ = losses_and_step(model, batch, min_iou=float(found.max()))
    assert float(losses["referred_back"]) == 0
    assert float(losses["loss_refer_back"].detach()) == 0


def test_gradient_reaches_the_reader_of_kept_captions_alone(model: Any) -> None:
    """Red when a caption that leads elsewhere is learnt, or the mask side is not."""
    parts = {}
    for min_iou in (0.0, 1.0):
        model.zero_grad(set_to_none=True)
        losses_and_step(model, tiny_batch("cycle", 2), min_iou=min_iou)[0]["loss_refer_back"].backward()
        parts[min_iou] = {
            name: any(p.grad is not None and bool(p.grad.any()) for p in params)
            for name, params in model.gradient_groups().items()
        }
    assert all(parts[0.0].values())
    assert not any(parts[1.0].values())


def test_a_caption_that_finds_another_object_as_well_is_left_out(model: Any) -> None:
    """Red when only the IoU with the true mask counts: a part and its whole overlap."""
    batch = tiny_batch("cycle", 2)
    losses, step = losses_and_step(model, batch, min_iou=0.0)
    drawn = step.rereading(model.reader, gradient=False).mask_logits > 0
    assert float(losses["referred_back"]) > 0
    nothing = torch.zeros_like(drawn)
    for others, share in ((drawn, 0.0), (nothing, float(losses["referred_back"]))):
        both = torch.stack([nothing, others], 1)
        again, _ = losses_and_step(model, batch._replace(others=both), min_iou=0.0)
        assert float(again["referred_back"]) == share


def test_no_kept_caption_is_no_cut_link() -> None:
    """Red when a step in which no caption leads back ends in an alarm about the mask decoder."""
    model = tiny_pseudo_gumbel("word_trials_refer_back_tiny")
    model.regularizers[0].min_iou = 1.0
    losses = model(tiny_batch("cycle", 2), mode="loss")
    sum(loss for name, loss in losses.items() if "loss" in name).backward()
    still = {
        name
        for name, params in model.gradient_groups().items()
        if not any(p.grad is not None and p.grad.any() for p in params)
    }
    assert still == {"mask_decoder", "seg_head"}
    assert still <= model.groups_beyond("cycle")


@pytest.mark.parametrize("silent", [1, 2])
def test_silent_captions_are_read_and_weigh_nothing(model: Any, silent: int) -> None:
    """Red when a rank without words reads less often than the others, or an empty caption is an expression."""
    batch = tiny_batch("cycle", 2)
    _, step = losses_and_step(model, batch)
    ids = [row[:0] if sample < silent else row for sample, row in enumerate(step.captions.ids)]
    model.teacher_captions = lambda *_: Captions(ids, step.captions.stopped)
    reads: list[Any] = []
    whole, model.student.mask_from = model.student.mask_from, lambda *args: reads.append(0) or whole(*args)
    try:
        losses, _ = losses_and_step(model, batch, min_iou=0.0)
    finally:
        del model.student.mask_from
    assert len(reads) == 3
    assert float(losses["referred_back"]) <= 1 - silent / 2
    losses["loss_refer_back"].backward()
    assert silent < 2 or float(losses["loss_refer_back"].detach()) == 0


def test_it_joins_the_specified_cycle_too(model: Any) -> None:
    """Red when it needs an estimator that reads without gradient, or changes what the step itself learns."""
    method = tiny_pseudo_gumbel()
    batch = tiny_batch("cycle", 2)
    alone = method(batch, mode="loss")
    losses, _ = losses_and_step(method, batch)
    assert isinstance(method.reader, StudentReader)
    assert all(torch.equal(losses[name], alone[name]) for name in alone)
    sum(loss for name, loss in losses.items() if "loss" in name).backward()


@pytest.mark.parametrize(("options", "message"), [(dict(weight=0), "weight=0"), (dict(min_iou=60), "min_iou=60")])
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReferBack(**{"weight": 1.0, **options})

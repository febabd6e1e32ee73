"""Optional losses on the student's words, against closed forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Categorical, kl_divergence

from pseudo_gumbel.regularizers import BaseKL, CaptionAnchor, CaptionEntropy, ForwardTeacherKL, TeacherKL
from pseudo_gumbel.step import Captions
from pseudo_gumbel.teacher import EMATeacher
from sa2va_native.errors import ConfigError
from sa2va_native.models.prompts import END
from tests.tiny import cycle_step, tiny_batch, tiny_pseudo_gumbel


def test_anchor_asks_for_the_teachers_word_at_corrupted_places_only():
    """Red when uncorrupted tokens count: repeating them is not a task."""
    logits = torch.randn(2, 3, 5)
    captions = [torch.tensor([0, 1, 2]), torch.tensor([3])]
    corrupted = [torch.tensor([0, 4, 2]), torch.tensor([3])]
    expected = 0.3 * F.cross_entropy(logits[0, 1:2], torch.tensor([1])) / 2
    step = cycle_step(logits, Captions(captions, [True, True]), corrupted=corrupted)
    torch.testing.assert_close(CaptionAnchor(0.3)(step), expected)


def test_entropy_of_uniform_words_is_the_log_of_the_vocabulary():
    """Red when padding counts: the second caption has one real token."""
    logits = torch.zeros(2, 3, 5)
    logits[1, 1:] = torch.tensor([100.0, 0, 0, 0, 0])
    captions = [torch.tensor([0, 1, 2]), torch.tensor([3])]
    step = cycle_step(logits, Captions(captions, [True, True]))
    torch.testing.assert_close(CaptionEntropy(0.1)(step), -0.1 * torch.tensor(5.0).log())


def test_stop_positions_of_the_logits_do_not_count():
    """With an estimator that rates the stop word. Red when the labels do not fit, or its entropy is added."""
    captions, corrupted = [torch.tensor([0, 1]), torch.tensor([3])], [torch.tensor([0, 4]), torch.tensor([2])]
    logits = torch.randn(2, 2 + 2, 5)
    with_stop = cycle_step(logits, Captions(captions, [True, True]), [3, 4], corrupted=corrupted)
    without = cycle_step(logits[:, :2], Captions(captions, [True, True]), corrupted=corrupted)
    for term in (CaptionAnchor(0.3), CaptionEntropy(0.1)):
        torch.testing.assert_close(term(with_stop), term(without))


def test_regularizers_are_added_by_config_and_reach_the_captioner():
    terms = [dict(type=CaptionAnchor, weight=0.3), dict(type=CaptionEntropy, weight=0.1)]
    model = tiny_pseudo_gumbel(regularizers=terms)
    losses = model(tiny_batch(), mode="loss")
    (losses["loss_anchor"] + losses["loss_entropy"]).backward()
    assert all(p.grad is not None for p in model.gradient_groups()["projector"])
    assert "loss_anchor" not in tiny_pseudo_gumbel()(tiny_batch(), mode="loss")


STOP = [4, 5]
SPOKEN = Captions([torch.tensor([0, 1, 2]), torch.tensor([3])], [False, True])  #: rated: 3, and 1 + 2 stop tokens
DIRECTIONS = [(TeacherKL, False), (ForwardTeacherKL, True)]


def kl_step(captions: Captions, teacher: torch.Tensor | None = None) -> Any:
    logits = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 5, 6, dtype=torch.float64) if teacher is None else teacher
    return cycle_step(logits, captions, STOP, teacher_logits=teacher)


@pytest.mark.parametrize(("kind", "forward"), DIRECTIONS)
def test_the_teachers_anchor_is_the_divergence_over_words_and_stop_tokens(kind: Any, forward: bool) -> None:
    """Against torch.distributions. Red in the other direction, without the stop word, with padding, or as a sum."""
    step = kl_step(SPOKEN)
    student, teacher = Categorical(logits=step.logits), Categorical(logits=step.teacher_logits)
    kl = kl_divergence(teacher, student) if forward else kl_divergence(student, teacher)
    expected = 0.3 * (kl[0, :3].mean() + kl[1, :3].mean()) / 2
    torch.testing.assert_close(kind(0.3)(step), expected)
    (gradient,) = torch.autograd.grad(kind(0.3)(step), step.logits)
    assert (gradient.abs().sum(-1) > 0).tolist() == [[True] * 3 + [False] * 2] * 2


@pytest.mark.parametrize(("kind", "forward"), DIRECTIONS)
def test_a_student_that_is_the_teacher_pays_nothing(kind: Any, forward: bool) -> None:
    step = kl_step(SPOKEN)
    step.teacher_logits = step.logits.detach()
    loss = kind(0.3)(step)
    assert float(loss.detach()) == 0
    (gradient,) = torch.autograd.grad(loss, step.logits)
    assert float(gradient.abs().max()) < 1e-12


@pytest.mark.parametrize("kind", [TeacherKL, ForwardTeacherKL])
def test_an_empty_caption_weighs_nothing_but_stays_in_the_divisor(kind: Any) -> None:
    """Red when the stop word of a silent sample is trained on, or ranks with silent samples weigh more."""
    silent = SPOKEN._replace(ids=[SPOKEN.ids[0], SPOKEN.ids[1][:0]])
    step = kl_step(silent)
    (gradient,) = torch.autograd.grad(kind(0.3)(step), step.logits, retain_graph=True)
    assert gradient[0, :3].all()
    assert not gradient[1].any()
    alone = cycle_step(step.logits[:1], Captions(silent.ids[:1], [False]), STOP, teacher_logits=step.teacher_logits[:1])
    torch.testing.assert_close(kind(0.3)(step), kind(0.3)(alone) / 2)


def test_the_teachers_anchor_brings_the_stop_word_and_leaves_the_words_alone() -> None:
    """Red when the logits end with the caption, or the estimator's words change because a regularizer is there."""
    batch = tiny_batch()
    plain = tiny_pseudo_gumbel()
    anchored = tiny_pseudo_gumbel(regularizers=[dict(type=TeacherKL, weight=0.3)])
    anchored.load_state_dict(plain.state_dict())
    for model in (plain, anchored):
        model.teacher, model.record_next_step = EMATeacher(model), True
        model.teacher.shadow["student.mllm.lm_head.weight"].mul_(1.5)
    _, losses = (model(batch, mode="loss") for model in (plain, anchored))
    step, end = anchored.last_step, len(plain.student.prompts.encode(END))
    assert step.logits.shape[1] == plain.last_step.logits.shape[1] + end
    assert torch.equal(step.rated.sum(1), step.captions.lengths + end * torch.tensor(step.captions.stopped))
    real = plain.last_step.worded
    torch.testing.assert_close(step.word_logits[real], plain.last_step.logits[real], rtol=1e-4, atol=1e-4)
    assert torch.equal(step.words.ids[real], plain.last_step.words.ids[real])
    assert float(losses["loss_teacher_kl"].detach()) > 0
    losses["loss_teacher_kl"].backward()
    trained = {name for name, params in anchored.gradient_groups().items() if any(p.grad is not None for p in params)}
    assert trained == {"lora", "projector", "embeddings"}


def test_the_base_is_the_student_without_lora_and_the_student_comes_back() -> None:
    """Red when an adapter stays on, its gradient is lost, or a tensor that is trained in place is reset too."""
    model = tiny_pseudo_gumbel(regularizers=[dict(type=BaseKL, weight=0.3)], mask_ratio=0.0)
    bare = tiny_pseudo_gumbel(sa2va=dict(lora=None, trainable=["projector"]), mask_ratio=0.0)
    with torch.no_grad():
        for parameter in model.student.part("lora"):
            parameter.normal_(0, 0.05, generator=torch.Generator().manual_seed(0))
        for one in (model, bare):
            one.student.mllm.lm_head.weight.mul_(1.1)
    model.record_next_step = True
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    losses = model(tiny_batch(), mode="loss")
    step = model.last_step
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == before
    fed = [step.captions.with_stop(step.captions.ids, step.stop_ids)] * 2
    expected = bare.student.caption_logits(step.pictures1, step.side1.region, *fed)[0]
    torch.testing.assert_close(step.base_logits[step.rated], expected[step.rated], rtol=1e-4, atol=1e-4)
    again = model.student.caption_logits(step.pictures1, step.side1.region, *fed)[0]
    torch.testing.assert_close(again[step.rated], step.logits[step.rated])
    kl = kl_divergence(Categorical(logits=step.logits), Categorical(logits=step.base_logits))
    by_hand = torch.stack([row[real].mean() for row, real in zip(kl, step.rated, strict=True)]).mean()
    torch.testing.assert_close(losses["loss_base_kl"].detach(), 0.3 * by_hand, rtol=1e-4, atol=1e-5)
    losses["loss_base_kl"].backward()
    assert all(parameter.grad is not None for parameter in model.student.part("lora"))


def test_a_student_without_adapters_is_not_compared_with_itself() -> None:
    """Red when an anchor that is always 0 goes unnoticed."""
    with pytest.raises(ConfigError, match="no LoRA adapters"):
        tiny_pseudo_gumbel(sa2va=dict(lora=None), regularizers=[dict(type=BaseKL, weight=0.3)])


@pytest.mark.parametrize("weight", [0, -0.3])
def test_a_weight_that_pushes_away_from_the_teacher_is_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match=f"TeacherKL.weight={weight}"):
        TeacherKL(weight)


def test_two_regularizers_of_one_name_are_refused() -> None:
    """Red when the second one's loss silently replaces the first one's."""
    twice = [dict(type=CaptionEntropy, weight=0.1), dict(type=TeacherKL, weight=0.1), dict(type=TeacherKL, weight=0.2)]
    with pytest.raises(ConfigError, match="two of loss_teacher_kl"):
        tiny_pseudo_gumbel(regularizers=twice)

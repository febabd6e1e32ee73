"""Whose weights read: masks, gradient, order of several readings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from pseudo_gumbel.gumbel import Words, hard_words
from pseudo_gumbel.hooks.frozen_reader_hook import FrozenCopy
from pseudo_gumbel.readers import FrozenReader, RefreshedReader, StudentReader, TeacherReader
from pseudo_gumbel.readers.copy_reader import CopyReader
from pseudo_gumbel.readers.reader import Reader
from pseudo_gumbel.step import Captions, CycleStep
from pseudo_gumbel.teacher import EMATeacher
from sa2va_native.errors import ConfigError
from tests.tiny import part_of, tiny_batch, tiny_pseudo_gumbel

CAPTIONER = {"lora", "projector", "embeddings"}


@pytest.fixture(scope="module")
def built() -> Any:
    return tiny_pseudo_gumbel()


@pytest.fixture
def model(built: Any) -> Iterator[Any]:
    weights = {name: tensor.clone() for name, tensor in built.state_dict().items()}
    built.zero_grad(set_to_none=True)
    built.teacher, built.reader = EMATeacher(built), StudentReader()
    yield built
    built.load_state_dict(weights)


def step_of(model: Any) -> CycleStep:
    """A step up to its words, which are part of a graph."""
    batch = tiny_batch("cycle", 2, two_frames=True)
    step = model.begin(batch)
    step.captions = model.teacher_captions(step.pictures1, step.side1.region)
    step.corrupted = step.captions.ids
    step.logits = model.student_logits(step)
    step.words = model.estimator.words(step)
    return step


def readers(model: Any) -> list[Reader]:
    frozen = FrozenReader()
    frozen.weights = FrozenCopy(model)
    return [StudentReader(), TeacherReader(), frozen]


def parts_with_gradient(model: Any) -> set[str]:
    groups = model.gradient_groups()
    return {name for name, ps in groups.items() if any(p.grad is not None and p.grad.abs().sum() > 0 for p in ps)}


def change(model: Any) -> None:
    with torch.no_grad():
        for parameter in [*model.student.part("seg_head"), *model.student.part("embeddings")]:
            parameter.mul_(1.5)


@pytest.mark.parametrize("gradient", [True, False])
def test_readers_of_equal_weights_see_the_same_mask(model: Any, gradient: bool) -> None:
    """Red when one reads other words, pictures or wordings, or with dropout where the others have none."""
    step = step_of(model)
    readings = [reader(model, step, step.words, gradient=gradient) for reader in readers(model)]
    assert all(reading.mask_logits.requires_grad == gradient for reading in readings)
    for reading in readings[1:]:
        torch.testing.assert_close(reading.text_embeds, readings[0].text_embeds)
        torch.testing.assert_close(reading.mask_logits, readings[0].mask_logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gradient", [True, False])
def test_only_the_student_reads_with_the_new_weights(model: Any, gradient: bool) -> None:
    """Red when teacher or frozen reader reads with a student's tensor, the words' rows included."""
    step = step_of(model)
    all_readers = readers(model)
    before = [reader(model, step, step.words, gradient=gradient) for reader in all_readers]
    change(model)
    after = [reader(model, step, step.words, gradient=gradient) for reader in all_readers]
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        same = [torch.equal(old.text_embeds, new.text_embeds), torch.equal(old.mask_logits, new.mask_logits)]
        assert same == [index > 0] * 2, index


@pytest.mark.parametrize("index", [1, 2])
def test_gradient_reaches_the_captioner_and_no_weight_of_a_constant_reader(model: Any, index: int) -> None:
    """Red when the reader's weights learn, or the words do not."""
    step = step_of(model)
    leaf = step.words._replace(weights=step.words.weights.detach().requires_grad_())
    readers(model)[index](model, step, leaf, gradient=True).mask_logits.square().sum().backward()
    assert leaf.weights.grad is not None
    assert leaf.weights.grad.abs().sum() > 0
    assert parts_with_gradient(model) == set()
    readers(model)[index](model, step, step.words, gradient=True).mask_logits.square().sum().backward()
    assert parts_with_gradient(model) == CAPTIONER


def test_a_constant_reader_has_no_dropout() -> None:
    """Nor has the teacher when asked. Red when trials are compared through noise, or the modes do not come back."""
    model = tiny_pseudo_gumbel(sa2va=dict(lora=dict(r=4, lora_alpha=8, lora_dropout=0.5)))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.train()
    model.teacher = EMATeacher(model)
    step = step_of(model)
    student, teacher, frozen = readers(model)

    def masks(reader: Reader, gradient: bool) -> list[torch.Tensor]:
        return [reader(model, step, step.words, gradient=gradient).mask_logits for _ in range(2)]

    for reader, gradient in ((student, False), (teacher, False), (teacher, True), (frozen, False), (frozen, True)):
        assert torch.equal(*masks(reader, gradient)), (reader, gradient)
    assert torch.equal(*(model.teacher_logits(step) for _ in range(2)))
    assert not torch.equal(*masks(student, True)), "the method's reader is trained with dropout"


def test_the_teacher_reads_inside_the_whole_step(model: Any) -> None:
    """Same loss as the student's when both have the same weights; red when its weights learn, or the words do not."""
    batch = tiny_batch("cycle", 2)
    ours = model(batch, mode="loss")
    model.reader = TeacherReader()
    theirs = model(batch, mode="loss")
    torch.testing.assert_close(theirs["loss_mask"], ours["loss_mask"])
    (theirs["loss_mask"] + theirs["loss_dice"]).backward()
    assert parts_with_gradient(model) == CAPTIONER
    model.teacher.shadow["student.text_hidden_fcs.2.weight"].zero_()
    assert not torch.equal(model(batch, mode="loss")["loss_mask"], theirs["loss_mask"])


def test_several_readings_of_a_sample_stand_together(model: Any) -> None:
    """Rows i * S .. i * S + S - 1 are sample i's. Red when a reading meets another sample's picture or length."""
    step = step_of(model)
    T = step.words.ids.shape[1]
    ids = torch.stack([step.captions.padded, step.captions.padded.roll(1, 0)[:, :T]], 1).flatten(0, 1)
    step.readings = 2
    together = StudentReader()(model, step, _hard(ids), gradient=False)
    assert together.mask_logits.shape[0] == together.text_embeds.shape[0] == 4
    step.readings = 1
    for reading in range(2):
        alone = StudentReader()(model, step, _hard(ids[reading::2]), gradient=False)
        torch.testing.assert_close(together.mask_logits[reading::2], alone.mask_logits, rtol=1e-4, atol=1e-4)


def several(model: Any) -> tuple[CycleStep, Words]:
    """Three readings of three samples, of soft words; lengths differ and may be 0, as are those of the questions."""
    batch = tiny_batch("cycle", 3, two_frames=True)
    step = model.begin(batch)
    assert len({model.student.choose_wording(key) for key in batch.keys}) > 1
    step.captions = model.teacher_captions(step.pictures1, step.side1.region)
    step.readings = 3
    draw = torch.Generator().manual_seed(0)
    candidates = torch.randint(100, (9, 6, 4), generator=draw)
    weights = torch.rand(9, 6, 4, generator=draw)
    lengths = torch.tensor([4, 0, 6, 1, 2, 3, 0, 0, 0])
    nothing = torch.zeros(9, 6)
    return step, Words(candidates, weights / weights.sum(-1, keepdim=True), nothing.long(), nothing, lengths)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_readings_that_share_their_beginning_equal_readings_of_their_own(model: Any, index: int) -> None:
    """Each row alone, without a cache. Red when pads, positions, lengths or another sample's picture get in."""
    step, words = several(model)
    reader = readers(model)[index]
    change(model)
    shared = reader(model, step, words, gradient=False).mask_logits
    plain = reader(model, step, words, gradient=True).mask_logits
    torch.testing.assert_close(shared, plain, rtol=1e-5, atol=5e-5)
    lengths = words.lengths.tolist()
    for row, length in enumerate(lengths):
        sample = row // 3
        one = model.begin(part_of(step.batch, slice(sample, sample + 1)))
        one.captions = Captions([torch.zeros(length, dtype=torch.long)], [True])
        alone = Words(*(value[row : row + 1, :length] for value in words[:4]))
        mask = reader(model, one, alone, gradient=False).mask_logits
        torch.testing.assert_close(shared[row : row + 1], mask, rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("index", [1, 2])
def test_gradient_behind_a_shared_beginning_is_that_of_readings_of_their_own(model: Any, index: int) -> None:
    """To soft words, through constant weights. Red when the shared beginning cuts or mixes the rows' gradients."""
    step, words = several(model)
    reader = readers(model)[index]
    change(model)
    soft = words.weights.clone().requires_grad_()
    masks = reader(model, step, words._replace(weights=soft), gradient=True).mask_logits
    pull = torch.randn(masks.shape, generator=torch.Generator().manual_seed(1))
    (shared,) = torch.autograd.grad((masks * pull).sum(), soft)
    assert shared[0].abs().sum() > 0
    for row, length in enumerate(words.lengths.tolist()):
        sample = row // 3
        one = model.begin(part_of(step.batch, slice(sample, sample + 1)))
        one.captions = Captions([torch.zeros(length, dtype=torch.long)], [True])
        alone = words.weights[row : row + 1, :length].clone().requires_grad_()
        those = Words(words.candidates[row : row + 1, :length], alone, *(v[row : row + 1, :length] for v in words[2:4]))
        mask = reader(model, one, those, gradient=True).mask_logits
        (own,) = torch.autograd.grad((mask * pull[row : row + 1]).sum(), alone, allow_unused=True)
        expected = torch.zeros_like(alone) if own is None else own
        torch.testing.assert_close(shared[row : row + 1, :length], expected, rtol=1e-3, atol=1e-3)


def test_a_shared_beginning_is_read_once(model: Any) -> None:
    """Tokens that a layer sees: pictures once a sample, nothing behind [SEG]. Red when they are read for each word."""
    step, words = several(model)
    read: list[int] = []
    layer = model.student.language_model.layers[0]
    handle = layer.register_forward_hook(lambda _, __, output: read.append(output.shape[:-1].numel()))
    for gradient in (True, False):
        readers(model)[0](model, step, words, gradient=gradient)
    handle.remove()
    plain, once, rest = read
    question = len(model.student.prompts.ask_segment(0))
    assert once < 3 * question
    assert rest < 9 * (6 + 20)
    assert once + rest < 0.6 * plain


def test_readings_of_a_sample_cost_the_same_for_the_same_mask(model: Any) -> None:
    """Red when readings are compared on other points, or with another sample's mask."""
    step = step_of(model)
    step.readings, masks = 3, torch.randn(2, 32, 32)
    step.mask_logits = masks.repeat_interleave(3, 0)
    costs = model.mask_costs(step)
    step.readings, step.mask_logits = 1, masks
    for name, cost in model.mask_costs(step).items():
        assert torch.equal(costs[name], cost.repeat_interleave(3))


@pytest.mark.parametrize("kind", [FrozenReader, RefreshedReader])
def test_a_reader_without_its_copy_is_refused(model: Any, kind: type[CopyReader]) -> None:
    step = step_of(model)
    with pytest.raises(ConfigError, match=rf"{kind.__name__} has no copy .*type={kind.__name__}Hook"):
        kind()(model, step, step.words, gradient=False)


@pytest.mark.parametrize("teacher", [True, False])
def test_constant_weights_in_slices_are_refused(model: Any, monkeypatch: pytest.MonkeyPatch, teacher: bool) -> None:
    """Red when ZeRO-3 ends in an error of torch, as it once did without a teacher."""
    step = step_of(model)
    model.teacher, model.reader = model.teacher if teacher else None, TeacherReader()
    monkeypatch.setattr(type(model.student), "is_partitioned", True)
    with pytest.raises(ConfigError, match=r"model.reader=TeacherReader .* ZeRO-3 splits them: use ZeRO-1 or ZeRO-2"):
        model.reader(model, step, step.words, gradient=True)


def _hard(ids: torch.Tensor) -> Words:
    return hard_words(ids, torch.zeros(ids.shape))

"""Word trials against the formula by hand, stop words and silent samples included."""

from __future__ import annotations

from math import exp
from typing import Any

import pytest
import torch

from pseudo_gumbel.estimators import WordTrials
from pseudo_gumbel.gumbel import Words
from pseudo_gumbel.step import Captions
from pseudo_gumbel.teacher import EMATeacher
from pseudo_gumbel.trial import Trial, WholeWords, draw_positions, posterior
from sa2va_native.errors import ConfigError
from sa2va_native.models.prompts import END
from tests.tiny import cycle_step, tiny_batch, tiny_pseudo_gumbel

V, STOP = 6, [4, 5]
CAPTIONS = Captions([torch.tensor([0, 1, 2]), torch.tensor([3])], [False, True])  #: rated: 3, and 1 + 2 stop tokens


def trial_step(costs: torch.Tensor, captions: Captions = CAPTIONS) -> Any:
    draw = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, len(captions.ids), 3, V, generator=draw)
    step = cycle_step(student.requires_grad_(), captions, STOP, 3, teacher_logits=teacher, costs={"loss_mask": costs})
    return step


def trial_at(positions: list[list[int]], words: list[list[list[int]]], counts: Any = True) -> Trial:
    at = torch.tensor(positions)
    tried = torch.ones_like(at, dtype=torch.bool) & torch.tensor(counts)
    return Trial(at, tried, at + 1, WholeWords.of_one_token(torch.tensor(words)))


def test_the_posterior_by_hand() -> None:
    """p exp(-c / beta), normalised, without what is below min_p of the best."""
    p, c = [0.5, 0.3, 0.004], [0.7, 0.6, 0.0]
    raw = [p[0] * exp(-c[0] / 0.1), p[1] * exp(-c[1] / 0.1), 0.0]
    found = posterior(torch.tensor([p]).log(), torch.tensor([c]), beta=0.1, min_p=0.02)
    torch.testing.assert_close(found, torch.tensor([[one / sum(raw) for one in raw]]))


def test_the_target_of_a_batch_by_hand() -> None:
    """Red when a cost is credited to another sample's or word's reading, or a position but the tried one changes."""
    costs = torch.tensor([0.1, 0.2, 0.3, 0.9, 0.5, 0.7])
    step, estimator = trial_step(costs), WordTrials(3, beta=0.2, min_p=0.0)
    trial = trial_at([[2], [0]], [[[5, 0, 3]], [[1, 2, 4]]])
    target, p = estimator.target(step, trial), step.teacher_logits.softmax(-1)
    for sample, ((position,), (words,)) in enumerate(zip(trial.positions, trial.candidates, strict=True)):
        raw = torch.zeros(V)
        for reading, word in enumerate(words):
            raw[word] = p[sample, position, word] * exp(-float(costs[3 * sample + reading]) / 0.2)
        torch.testing.assert_close(target[sample, position], raw / raw.sum())
        others = [t for t in range(3) if t != position]
        assert torch.allclose(target[sample, others], p[sample, others])


def test_two_positions_by_hand() -> None:
    """A posterior at each, their mean counts as much as all others; a repeated position weighs nothing.

    Red when costs of one position are credited to the other, or a caption that is too short counts twice.
    """
    step, estimator = trial_step(torch.rand(12)), WordTrials(3, beta=0.2, min_p=0.0, positions=2)
    step.trial = trial = trial_at([[2, 0], [0, 0]], [[[5, 0, 3], [1, 2, 4]]] * 2, [[True, True], [True, False]])
    p, q, costs = step.teacher_logits.softmax(-1), step.logits.softmax(-1), step.cost.view(2, 2, 3)
    kl = {}
    for i, t in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)):
        target = p[i, t]
        for place in range(2):
            if trial.counts[i, place] and trial.positions[i, place] == t:
                target = torch.zeros(V)
                for k, word in enumerate(trial.candidates[i, place]):
                    target[word] = p[i, t, word] * exp(-float(costs[i, place, k]) / 0.2)
                target = target / target.sum()
        kl[i, t] = torch.where(target > 0, target * (target / q[i, t]).log(), 0.0).sum()
    losses = estimator.losses(step)
    torch.testing.assert_close(losses["loss_trial"], ((kl[0, 0] + kl[0, 2]) / 2 + kl[1, 0]) / 2)
    torch.testing.assert_close(losses["loss_prior"], (kl[0, 1] + (kl[1, 1] + kl[1, 2]) / 2) / 2)


def test_a_word_that_is_not_whole_gets_nothing() -> None:
    """Red when what was cut off is learnt, or makes the others' weights NaN."""
    step, estimator = trial_step(torch.rand(6)), WordTrials(3, beta=0.2, min_p=0.0)
    trial = trial_at([[2], [0]], [[[5, 0, 3]], [[1, 2, 4]]])
    trial.words.complete[0, 0, 1] = False
    target = estimator.target(step, trial)
    assert target[0, 2, 0] == 0
    torch.testing.assert_close(target.sum(-1), torch.ones(2, 3))


def test_the_loss_by_hand() -> None:
    """KL at the tried position, plus the mean KL of the others: stop tokens count, padding does not."""
    step, estimator = trial_step(torch.rand(6)), WordTrials(3)
    trial = estimator.trial(step)
    target, q = estimator.target(step, trial), step.logits.softmax(-1)
    kl = torch.where(target > 0, target * (target / q).log(), 0.0).sum(-1)
    tried = [kl[i, trial.positions[i, 0]] for i in range(2)]
    rest = [sum(kl[i, t] for t in range(3) if t != trial.positions[i, 0]) / 2 for i in range(2)]
    losses = estimator.losses(step)
    torch.testing.assert_close(losses["loss_trial"], sum(tried) / 2)
    torch.testing.assert_close(losses["loss_prior"], sum(rest) / 2)


def test_stop_tokens_learn_where_the_caption_stopped() -> None:
    """Red when only caption positions are held, or the padding of a caption that did not stop is."""
    captions = Captions([torch.tensor([0]), torch.tensor([3])], [False, True])
    step = trial_step(torch.rand(6), captions)
    losses = WordTrials(3).losses(step)
    (gradient,) = torch.autograd.grad(losses["loss_trial"] + losses["loss_prior"], step.logits)
    assert (gradient.abs().sum(-1) > 0).tolist() == [[True, False, False], [True, True, True]]


def test_words_are_the_caption_with_each_candidate_in_turn() -> None:
    """Red when a trial changes another position, or readings of two samples are mixed."""
    step, estimator = trial_step(torch.rand(6)), WordTrials(3)
    trial = estimator.trial(step)
    positions, candidates = trial.positions[:, 0], trial.candidates[:, 0]
    words = estimator.words(step)
    assert isinstance(words, Words)
    assert positions[1] == 0, "the second caption has one word"
    log_q = step.logits.log_softmax(-1)
    for sample in range(2):
        best = step.teacher_logits[sample, positions[sample]].topk(3).indices
        assert torch.equal(candidates[sample], best)
        for reading in range(3):
            expected = CAPTIONS.padded[sample].clone()
            expected[positions[sample]] = best[reading]
            row = 3 * sample + reading
            assert torch.equal(words.ids[row], expected)
            torch.testing.assert_close(words.log_probs[row], log_q[sample, torch.arange(3), expected])


def test_positions_are_drawn_by_entropy_among_the_words() -> None:
    """Red when a stop token is tried, or where the teacher is sure as often as where it is not."""
    log_p = torch.zeros(1, 4, 8).log_softmax(-1)  # log 8 nats each
    log_p[0, 1] = torch.tensor([0.0] + [-torch.inf] * 7).clamp(min=-1e4)  # sure: 0 nats
    log_p[0, 2] = torch.tensor([0.5, 0.5] + [0.0] * 6).log().clamp(min=-1e4)  # log 2 nats
    allowed = torch.tensor([[True, True, True, False]])
    generators = [torch.Generator().manual_seed(i) for i in range(2000)]
    drawn = torch.cat([draw_positions(log_p, allowed, [generator])[0][:, 0] for generator in generators])
    share = torch.bincount(drawn, minlength=4) / 2000
    torch.testing.assert_close(share, torch.tensor([3 / 4, 0.0, 1 / 4, 0.0]), atol=0.03, rtol=0)


def test_a_silent_sample_weighs_nothing() -> None:
    captions = Captions([torch.tensor([0, 1, 2]), torch.tensor([]).long()], [True, True])
    step, estimator = trial_step(torch.rand(6), captions), WordTrials(3)
    losses = estimator.losses(step)
    (gradient,) = torch.autograd.grad(losses["loss_trial"] + losses["loss_prior"], step.logits)
    assert gradient[0].any()
    assert not gradient[1].any()


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_pseudo_gumbel("word_trials_tiny")


def test_logits_go_on_through_the_stop_word(model: Any) -> None:
    """They predict the very tokens of the stop word. Red when they stop with the caption, or go on where it did not."""
    batch = tiny_batch("cycle", 2)
    end = torch.tensor(model.student.prompts.encode(END))
    assert len(end) > 1
    step = model.begin(batch)
    greedy = model.teacher_captions(step.pictures1, step.side1.region)
    assert all(greedy.stopped)
    step.captions = greedy._replace(stopped=[True, False])
    step.corrupted = step.captions.ids
    step.logits = model.student_logits(step)
    lengths = step.captions.lengths.tolist()
    assert step.rated.sum(1).tolist() == [lengths[0] + len(end), lengths[1]]
    assert step.worded.sum(1).tolist() == lengths
    predicted = step.logits[0].argmax(-1)
    assert torch.equal(predicted[: lengths[0] + len(end)].cpu(), torch.cat([greedy.ids[0], end]))


def test_the_teacher_is_asked_with_its_own_weights_and_caption(model: Any) -> None:
    """Red when its logits are the student's, or hold a graph."""
    step = model.begin(tiny_batch("cycle", 2))
    step.captions = model.teacher_captions(step.pictures1, step.side1.region)
    step.corrupted = step.captions.ids
    step.logits = model.student_logits(step)
    step.corrupted = [ids.flip(0) for ids in step.captions.ids]
    torch.testing.assert_close(step.teacher_logits, step.logits, rtol=1e-4, atol=1e-4)
    assert not step.teacher_logits.requires_grad
    model.teacher = EMATeacher(model)
    model.teacher.shadow["student.mllm.lm_head.weight"].mul_(2)
    torch.testing.assert_close(model.teacher_logits(step), 2 * step.logits.detach(), rtol=1e-4, atol=1e-3)
    model.teacher = None


def test_a_step_teaches_the_captioner_alone(model: Any) -> None:
    """Red when the reading is differentiated, or a reading is left out."""
    model.zero_grad(set_to_none=True)
    model.record_next_step = True
    losses = model(tiny_batch("cycle", 2), mode="loss")
    assert losses.keys() == {"loss_trial", "loss_prior", "mask_cost", "silent_captions"}
    assert model.last_step.mask_logits.shape == (16, 32, 32)
    (losses["loss_trial"] + losses["loss_prior"]).backward()
    trained = {name for name, params in model.gradient_groups().items() if any(p.grad is not None for p in params)}
    assert trained == {"lora", "projector", "embeddings"}


@pytest.mark.parametrize("stopped", [True, False])
def test_a_batch_that_says_nothing_runs_the_same_forwards(model: Any, stopped: bool) -> None:
    """Red when a rank whose captions are all empty fails or leaves a reading out: the others would wait."""
    nothing = Captions([torch.zeros(0, dtype=torch.long)] * 2, [stopped] * 2)
    model.teacher_captions = lambda *_: nothing
    try:
        model.record_next_step = True
        losses = model(tiny_batch("cycle", 2), mode="loss")
    finally:
        del model.teacher_captions
    assert model.last_step.mask_logits.shape[0] == 16
    total = losses["loss_trial"] + losses["loss_prior"]
    assert float(total.detach()) == 0
    total.backward()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(candidates=1), "candidates=1"),
        (dict(beta=0), "beta=0"),
        (dict(min_p=2), "min_p=2"),
        (dict(positions=0), "positions=0"),
        (dict(max_word_tokens=0), "max_word_tokens=0"),
        (dict(candidates=10_000), "vocabulary"),
    ],
)
def test_options_that_cannot_work_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WordTrials(**options).check(100)

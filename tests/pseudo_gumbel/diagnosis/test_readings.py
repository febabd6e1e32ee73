"""What the diagnosis reads: the caption's own word first, and mixtures at one position."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from pseudo_gumbel.diagnosis.readings import (
    OwnWordTrials,
    in_place_of_own,
    mixtures,
    reading,
    single_tokens,
    text_words,
)
from pseudo_gumbel.step import Captions, CycleStep
from sa2va_native.files.paths import ROOT
from tests.bpe import byte_level_tokenizer
from tests.tiny import cycle_step, tiny_batch


def likely(*rows: list[float]) -> torch.Tensor:
    return torch.tensor([rows]).log()


def test_the_words_of_one_caption_by_hand() -> None:
    """Red when the caption's own word is missing or not the first, or a rare word counts."""
    logits = likely([1.0, 0.0, 0.0, 0.0], [0.5, 0.3, 0.004, 0.196]).clamp(min=-30)  # sure of the first: never drawn
    step = cycle_step(logits, Captions([torch.tensor([0, 3])], [True]), readings=4, teacher_logits=logits)
    trials = OwnWordTrials(candidates=4)
    trial, words = trials.trial(step), trials.words(step)
    assert trial.positions.tolist() == [[1]]
    assert words.ids.tolist() == [[0, 3], [0, 0], [0, 1], [0, 2]]
    shares = trials.shares(step)
    assert (shares == -torch.inf).tolist() == [[False, False, False, True]]
    torch.testing.assert_close(shares[:, :3].exp(), torch.tensor([[0.196, 0.5, 0.3]]) / 0.996)


def test_an_unlikely_word_of_the_caption_counts() -> None:
    """Red when a human's word that the captioner finds unlikely is left out: then it could never be the cheapest."""
    logits = likely([0.6, 0.399, 0.001])
    step = cycle_step(logits, Captions([torch.tensor([2])], [True]), readings=2, teacher_logits=logits)
    trials = OwnWordTrials(candidates=2)
    assert trials.trial(step).candidates.tolist() == [[[2, 0]]]
    assert (trials.shares(step) > -torch.inf).all()


def tried(model: Any, texts: list[str]) -> CycleStep:
    """A step on noise after step 3."""
    step = model.begin(tiny_batch("cycle", len(texts), two_frames=True))
    encode = model.student.prompts.encode_human
    step.captions = Captions([torch.tensor(encode(text)).long() for text in texts], [True] * len(texts))
    step.corrupted, step.logits = step.captions.ids, step.teacher_logits
    return step


def tiny_config(**overrides: Any) -> Any:
    config = Config.fromfile(ROOT / "configs/_base_/models/sa2va_tiny.py").model
    config.update(overrides)
    return config


@pytest.fixture(scope="module")
def model() -> Any:
    return MODELS.build(in_place_of_own(tiny_config(), 3))


def test_a_mixture_of_one_word_is_that_word(model: Any) -> None:
    """Read as mixtures and as texts. Red when a mixture stands at another position or in another caption."""
    step = tried(model, ["a small red circle", "a large blue square with stripes"])
    estimator = model.estimator
    read = reading(model, step, estimator.words(step))
    trial, ids = estimator.trial(step), step.captions.padded
    weights = torch.eye(3).expand(2, 3, 3)
    mixed = reading(model, step, mixtures(ids, trial.positions[:, 0], trial.candidates[:, 0], weights), gradient=True)
    torch.testing.assert_close(mixed.mask_logits, read.mask_logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mixed.cost, read.cost, rtol=1e-4, atol=1e-4)
    plain = reading(model, step, text_words(step.captions.ids, ids.device))
    torch.testing.assert_close(plain.cost, read.cost[::3], rtol=1e-4, atol=1e-4)


def test_gradient_reaches_the_weights_of_each_word_alone(model: Any) -> None:
    """Against finite differences. Red when the reader is trained, or a weight moves another row's mask."""
    step = tried(model, ["a small red circle", "a large blue square"])
    trial, ids = model.estimator.trial(step), step.captions.padded

    def cost(weights: torch.Tensor) -> torch.Tensor:
        words = mixtures(ids, trial.positions[:, 0], trial.candidates[:, 0], weights)
        return reading(model, step, words, gradient=True).cost

    weights = torch.tensor([[[0.5, 0.3, 0.2]], [[0.2, 0.2, 0.6]]], requires_grad=True)
    (found,) = torch.autograd.grad(cost(weights).sum(), weights)
    h = 1e-3
    for k in range(3):
        step_k = h * torch.eye(3)[k]
        with torch.no_grad():
            expected = (cost(weights + step_k) - cost(weights - step_k)) / (2 * h)
        torch.testing.assert_close(found[:, 0, k], expected, rtol=0.05, atol=5e-3)
    assert all(param.grad is None for param in model.parameters())


def test_words_of_several_tokens_are_swapped_whole_and_tokens_alone(tmp_path: Any) -> None:
    """Red when a piece of the old word stays behind a whole word, or is lost behind a single token."""
    byte_level_tokenizer().save_pretrained(tmp_path)
    torch.manual_seed(0)
    model = MODELS.build(in_place_of_own(tiny_config(tokenizer=str(tmp_path), weights=None), 6))
    decode = model.student.prompts.decode
    texts = ["a giraffe stands", "two zebras"]
    step = tried(model, texts)
    trial = model.estimator.trial(step)
    rows = trial.rows(step.captions.ids)
    for i, text in enumerate(texts):
        assert decode(rows[6 * i]) == text, "the first word is the caption's own, whole"
        own, place = text.split(), len(decode(step.captions.ids[i][: trial.positions[i, 0]]).split())
        for k in range(6):
            if trial.words.complete[i, 0, k]:
                said = decode(rows[6 * i + k]).split()
                assert (said[:place], said[place + 1 :]) == (own[:place], own[place + 1 :])
    tokens = single_tokens(step)
    assert tokens.trial is not None
    for i, row in enumerate(tokens.trial.rows(step.captions.ids)):
        assert len(row) == len(step.captions.ids[i // 6])
        assert (row != step.captions.ids[i // 6]).sum() <= 1

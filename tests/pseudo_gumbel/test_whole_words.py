"""Words of several tokens: spelled as the captioner would, and nothing but words."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pseudo_gumbel.step import Captions, CycleStep
from pseudo_gumbel.whole_words import whole_words
from sa2va_native.models.evaluating import evaluating
from sa2va_native.models.prompts import END
from tests.bpe import bpe_pseudo_gumbel
from tests.tiny import tiny_batch

TEXTS = ["a small red circle, left of the striped square.", "two hexagons", ""]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return bpe_pseudo_gumbel(tmp_path_factory.mktemp("bpe"))


@pytest.fixture
def step(model: Any) -> CycleStep:
    """Three captions, of which the last is empty; pictures and regions differ, so prompts are padded."""
    step = model.begin(tiny_batch("cycle", 3, two_frames=True))
    encode = model.student.prompts.encode
    step.captions = Captions([torch.tensor(encode(text)).long() for text in TEXTS], [True, False, True])
    step.corrupted = step.captions.ids
    step.logits = model.student_logits(step)
    return step


def test_words_are_spelled_as_by_plain_greedy_search(model: Any, step: CycleStep) -> None:
    """Each word on its own, without a cache. Red when pads, positions or another word's tokens get in."""
    pieces, student = model.student.prompts.word_pieces, model.student
    positions = torch.tensor([[3, 0], [1, 0], [0, 0]])
    letters = torch.arange(len(pieces.begins))[pieces.begins | pieces.continues]
    first = letters[torch.randint(len(letters), (3, 2, 4), generator=torch.Generator().manual_seed(1))]
    found = whole_words(student, step, positions, first, 5)
    seen = set()
    for i, p, k in torch.cartesian_prod(torch.arange(3), torch.arange(2), torch.arange(4)).tolist():
        word, ended = [first[i, p, k][None]], False
        said = step.captions.ids[i][: positions[i, p]]
        region = step.side1.region[i : i + 1]
        for _ in range(5):
            rows = torch.cat([said, *word, torch.zeros(1, dtype=torch.long)])  # caption_logits predicts its last token
            with torch.no_grad(), evaluating(model):
                logits, _ = student.caption_logits(step.pictures1.of([i]), region, [rows], [rows])
            best = logits[0, -1].argmax()
            if not pieces.continues[best]:
                ended = True
                break
            word.append(best[None])
        length = int(found.lengths[i, p, k])
        assert found.ids[i, p, k, :length].tolist() == torch.cat(word)[:5].tolist()
        assert bool(found.complete[i, p, k]) == (ended and not (len(word) == 1 and bool(pieces.spaces[word[0]])))
        seen.add((length, ended))
    assert len(seen) > 1, "all words are alike: the test sees little"


@pytest.mark.parametrize("positions", [1, 3])
def test_what_is_read_is_the_caption_with_other_words(model: Any, step: CycleStep, positions: int) -> None:
    """Texts of the step, decoded. Red when a word is cut or joined to the next one, or a stop word comes in."""
    estimator = type(model.estimator)(candidates=6, positions=positions)
    step.readings, prompts = estimator.readings, model.student.prompts
    trial, words = estimator.trial(step), estimator.words(step)
    assert words.lengths is not None
    assert trial.counts.tolist() == [[True] * positions, [i < 2 for i in range(positions)], [False] * positions]
    texts = [prompts.tokenizer.decode(ids[:n]) for ids, n in zip(words.ids, words.lengths.tolist(), strict=True)]
    texts_of = torch.arange(len(texts)).view(3, positions, 6)
    for i, p in torch.nonzero(trial.counts).tolist():
        start, end = int(trial.positions[i, p]), int(trial.ends[i, p])
        said = step.captions.ids[i]
        before, after = (prompts.tokenizer.decode(part) for part in (said[:start], said[end:]))
        for k in torch.nonzero(trial.words.complete[i, p]).flatten().tolist():
            text = texts[int(texts_of[i, p, k])]
            assert text.startswith(before)
            assert text.endswith(after)
            word = text[len(before) : len(text) - len(after)]
            assert word.strip().replace("\ufffd", "x").isalnum(), word
            assert (word[0] == " ") == (start > 0)
            assert not after[:1].isalnum()
            assert END not in text
    assert all(text == "" for text in texts[int(texts_of[2, 0, 0]) :])


def test_a_step_learns_from_words_of_several_tokens(model: Any, step: CycleStep) -> None:
    """Red when rows of other lengths do not fit, a loss is not finite, or a silent sample learns."""
    estimator = type(model.estimator)(candidates=4, positions=2)
    said, old = step.captions, model.estimator
    model.estimator, model.teacher_captions, model.record_next_step = estimator, lambda *_: said, True
    try:
        losses = model(tiny_batch("cycle", 3, two_frames=True), mode="loss")
    finally:
        del model.teacher_captions
        model.estimator = old
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert model.last_step.mask_logits.shape[0] == 3 * 8
    (losses["loss_trial"] + losses["loss_prior"]).backward()
    model.zero_grad(set_to_none=True)


def test_the_passes_are_the_same_whatever_is_said(model: Any, step: CycleStep) -> None:
    """Red when a rank with short or no captions runs fewer: under ZeRO-3 the others would wait."""
    counts = []
    layer = model.student.language_model.layers[0]
    for captions in (step.captions, Captions([step.captions.ids[2]] * 3, [True] * 3)):
        step.captions, step.trial = captions, None
        vars(step).pop("teacher_logits", None)
        step.corrupted = step.captions.ids
        step.logits = model.student_logits(step)
        calls: list[int] = []
        handle = layer.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        model.estimator.trial(step)
        handle.remove()
        counts.append(len(calls))
    assert counts == [1 + 1 + model.estimator.max_word_tokens] * 2, "the teacher, the question, each token"

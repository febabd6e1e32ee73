"""Where words begin, under tokenizers of three kinds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from transformers import PreTrainedTokenizerFast

from sa2va_native.models.prompts import END
from sa2va_native.models.tokenizer import load_tokenizer
from sa2va_native.models.word_pieces import find_word_pieces
from tests.bpe import SENTENCES, byte_level_tokenizer, sentencepiece_tokenizer

KINDS = [byte_level_tokenizer, sentencepiece_tokenizer]


@pytest.mark.parametrize("make", KINDS)
def test_words_of_a_text_are_found_among_its_tokens(make: Callable[[], PreTrainedTokenizerFast]) -> None:
    """Against Python's own split. Red when a mark of the space is not seen, or a word runs on into punctuation."""
    tokenizer = make()
    begins, continues, _ = find_word_pieces(tokenizer, tokenizer.all_special_ids)
    text = "the small hexagon left of a striped triangle near two light circles"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert len(ids) > len(text.split()) + 3, "words are split"
    starts = [i for i in range(len(ids)) if i == 0 or begins[ids[i]]]
    words = [tokenizer.decode(ids[a:b]).strip() for a, b in zip(starts, [*starts[1:], len(ids)], strict=True)]
    assert words == text.split()
    assert all(continues[ids[i]] for i in range(len(ids)) if i not in starts)


@pytest.mark.parametrize("make", KINDS)
def test_no_word_can_hold_punctuation_or_a_special_token(make: Callable[[], PreTrainedTokenizerFast]) -> None:
    """Red when a piece of a stop word, a full stop or `[SEG]` may begin or continue a word."""
    tokenizer = make()
    begins, continues, spaces = find_word_pieces(tokenizer, tokenizer.all_special_ids)
    assert not (begins & continues).any()
    assert not (begins | continues)[tokenizer.all_special_ids].any()
    for sentence in [*SENTENCES, END]:
        for i in tokenizer.encode(sentence, add_special_tokens=False):
            piece = tokenizer.decode([i]).strip()
            assert not (begins[i] or continues[i]) or piece.isalnum() or spaces[i] or "\ufffd" in piece


def test_each_token_of_a_word_level_tokenizer_is_a_word() -> None:
    """Red when a word without its space counts as the end of the one before: nothing could be tried then."""
    tokenizer = load_tokenizer("assets/tiny/tokenizer")
    pieces = find_word_pieces(tokenizer, tokenizer.all_special_ids)
    assert pieces.are_words
    ids = tokenizer.encode("the small red circle", add_special_tokens=False)
    assert pieces.begins[ids].all()
    assert not pieces.begins[tokenizer.all_special_ids].any()
    assert not find_word_pieces(byte_level_tokenizer(), ()).are_words

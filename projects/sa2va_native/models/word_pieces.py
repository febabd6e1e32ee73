"""Which tokens begin a word and which go on with one: found by decoding, so that any kind of tokenizer will do."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple
from unicodedata import category

import torch
from tokenizers.models import WordLevel
from torch import Tensor
from transformers import PreTrainedTokenizerBase


class WordPieces(NamedTuple):
    """A word is a run of letters, marks and digits with the space before it. Everything else ends one.

    So punctuation, special tokens and the pieces of a stop word are neither: no word that is put together of these
    tokens can hold them.
    """

    begins: Tensor  #: [V] bool, tokens that begin a word after another one
    continues: Tensor  #: [V] bool, tokens that go on with a word; at the start of a text they begin one, too
    spaces: Tensor  #: [V] bool, those of ``begins`` that are a space alone, and no word yet

    @property
    def are_words(self) -> bool:
        """Whether each token is a whole word."""
        return not bool(self.continues.any())


def find_word_pieces(tokenizer: PreTrainedTokenizerBase, no_words: Collection[int]) -> WordPieces:
    """Sorts a vocabulary, except the ids ``no_words``. Decodes it once: about a second for 150,000 tokens.

    A word-level tokenizer never joins two tokens to a word, so all of its tokens begin one.
    """
    ids = sorted(set(range(len(tokenizer))) - set(no_words))
    begins, continues, spaces = torch.zeros(3, len(tokenizer), dtype=torch.bool, device="cpu")
    if isinstance(getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None), WordLevel):
        begins[ids] = True
        return WordPieces(begins, continues, spaces)
    # After another token, since some tokenizers drop the space at the start of a text.
    anchor = tokenizer.encode("a", add_special_tokens=False)[-1:]
    before = len(tokenizer.decode(anchor, clean_up_tokenization_spaces=False))
    texts = tokenizer.batch_decode([[*anchor, i] for i in ids], clean_up_tokenization_spaces=False)
    for i, text in zip(ids, texts, strict=True):
        piece = text[before:]
        if _is_word(piece):
            continues[i] = True
        elif piece[:1] == " ":
            spaces[i] = piece == " "
            begins[i] = piece == " " or _is_word(piece[1:])
    return WordPieces(begins, continues, spaces)


def _is_word(text: str) -> bool:
    # U+FFFD stands for a part of a letter of several bytes.
    return bool(text) and all(category(letter)[0] in "LNM" or letter == "\ufffd" for letter in text)

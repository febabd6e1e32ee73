"""Words of human text that a tokenizer does not know: all of them are one token, of which nothing can be learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from transformers import PreTrainedTokenizerBase

from sa2va_native.datasets.reading.texts import unknown_note

#: Text -> its unknown words, in order.
UnknownWords = Callable[[str], list[str]]


def unknown_words_of(tokenizer: PreTrainedTokenizerBase) -> UnknownWords | None:
    """What finds them; None if the tokenizer knows every text, as those of bytes do, or has no offsets to tell."""
    unknown = tokenizer.unk_token_id
    if unknown is None or not tokenizer.is_fast:
        return None

    def find(text: str) -> list[str]:
        # As Prompts.encode_human, which has the place of each word only in ids.
        encoded: Any = tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True, verbose=False
        )
        places = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        return [text[start:end].strip() for number, (start, end) in places if number == unknown]

    return find


def unknown_words(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    """Those of one text, each once."""
    find = unknown_words_of(tokenizer)
    return list(dict.fromkeys(find(text))) if find else []


def describe_unknown(find: UnknownWords, texts: Iterable[str]) -> str | None:
    """The unknown words of some texts in one line; None if there are none."""
    words: Counter[str] = Counter()
    count = concerned = 0
    for text in texts:
        found = find(text)
        words.update(found)
        count, concerned = count + 1, concerned + bool(found)
    return unknown_note(words, concerned, count) if words else None

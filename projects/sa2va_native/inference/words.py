"""Words of a text that a model cannot read."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase


def unknown_words(tokenizer: PreTrainedTokenizerBase, text: str) -> list[str]:
    """The words of a text that the tokenizer replaces by its unknown token, each once.

    The tiny tokenizer has a closed vocabulary; those of InternVL know every text.
    """
    if tokenizer.unk_token_id is None:
        return []
    words = dict.fromkeys(text.split())
    return [word for word in words if tokenizer.unk_token_id in tokenizer.encode(word, add_special_tokens=False)]

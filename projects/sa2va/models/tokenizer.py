"""Tokenizers: a directory in Hugging Face layout, with Sa2VA's tokens added."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from projects.sa2va.errors import ConfigError
from projects.sa2va.models.prompts import ADDED_TOKENS, IMG_CONTEXT, IMG_END, IMG_START
from projects.sa2va.paths import resolve


def load_tokenizer(directory: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer and add Sa2VA's five tokens where it lacks them.

    Raises:
        ConfigError: no tokenizer in ``directory``.
    """
    path = resolve(directory)
    if not (path / "tokenizer.json").is_file() and not (path / "vocab.json").is_file():
        raise ConfigError(f"tokenizer {str(path)!r}: no tokenizer.json there; give a Hugging Face tokenizer directory")
    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.add_tokens(list(ADDED_TOKENS), special_tokens=True)
    return tokenizer


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

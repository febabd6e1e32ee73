"""Tokenizers: a directory in Hugging Face layout or one that a base model provides, with Sa2VA's tokens added."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from sa2va_native.errors import ConfigError, printable
from sa2va_native.files.paths import resolve
from sa2va_native.models.internvl import tokenizer as internvl
from sa2va_native.models.prompts import ADDED_TOKENS

#: Tokenizers that need no download, by name; a folder of a base model adds its own here.
NAMED = {**internvl.TOKENIZERS}


def load_tokenizer(source: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer and add Sa2VA's five tokens if it lacks them.

    Args:
        source: a name of :data:`NAMED`, or a directory in Hugging Face layout.

    Raises:
        ConfigError: no tokenizer in the directory, a broken one, or one that asks for code of its own.
    """
    tokenizer = NAMED[source]() if source in NAMED else _read_tokenizer(resolve(source))
    tokenizer.add_tokens(list(ADDED_TOKENS), special_tokens=True)
    return tokenizer


def _read_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    if not (path / "tokenizer.json").is_file() and not (path / "vocab.json").is_file():
        names = ", ".join(map(repr, NAMED))
        raise ConfigError(
            f"tokenizer {str(path)!r}: no tokenizer.json there; give the directory of a tokenizer, or one of {names}"
        )
    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # of files that are broken transformers raises nearly anything
        raise ConfigError(
            f"tokenizer {str(path)!r} cannot be read, or asks for its own code, which is never run "
            f"({type(error).__name__}: {printable(str(error)):.300}). Give the directory of another tokenizer."
        ) from error


def write_word_tokenizer(words: Sequence[str], directory: Path, special_tokens: Sequence[str]) -> None:
    """Write a word-level tokenizer for a closed vocabulary, for the tiny model.

    Chat markers stay sequences of several tokens, as they are under Qwen's byte-level BPE, so that stop words take the
    same path at every size. Each piece of text keeps the space before it, so that decoding gives the text back.
    ``special_tokens`` are those that the base model adds.
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
    fast.add_tokens(list(special_tokens), special_tokens=True)
    fast.save_pretrained(directory)

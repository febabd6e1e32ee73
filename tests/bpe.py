"""Small tokenizers whose words are several tokens, trained on a few sentences, and the tiny model with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from sa2va_native.models.internvl.tokens import ADDED_TOKENS
from tests.tiny import tiny_pseudo_gumbel

SENTENCES = [
    "a small red circle left of the large striped square, near a green star.",
    "Please segment the spotted triangle in this image. Sure, it is there.",
    "two purple hexagons; the light-blue one isn't big (12 px).<|end|>\n<|assistant|>\n",
]


def byte_level_tokenizer(vocabulary: int = 330) -> PreTrainedTokenizerFast:
    """Byte-level BPE, like Qwen's: words of one to seven tokens, spaces as their first byte."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES * 5, trainer)
    return _wrapped(tokenizer)


def sentencepiece_tokenizer(vocabulary: int = 60) -> PreTrainedTokenizerFast:
    """Unigram with the space as a letter of its own, like Llama's; decoding drops it at the start of a text."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=vocabulary, show_progress=False, unk_token="<unk>")
    tokenizer.train_from_iterator(SENTENCES * 5, trainer)
    return _wrapped(tokenizer)


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    special = dict(pad_token="<|endoftext|>", eos_token="<|im_end|>")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **special)
    fast.add_tokens(list(ADDED_TOKENS), special_tokens=True)
    return fast


def bpe_pseudo_gumbel(folder: Path, config: str = "word_trials_tiny", **overrides: Any) -> Any:
    """The tiny model of ``config`` with random weights and a byte-level tokenizer."""
    byte_level_tokenizer().save_pretrained(folder)
    torch.manual_seed(0)
    return tiny_pseudo_gumbel(config, sa2va=dict(tokenizer=str(folder), weights=None), **overrides)

"""Prompts: ids and embeddings come from the same counts; [SEG] goes in by id; captions end at the stop word."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from torch import nn
from transformers import PreTrainedTokenizerFast

from sa2va_native.datasets.region_grid import region_grid
from sa2va_native.errors import ConfigError, PromptError
from sa2va_native.models.internvl.tokens import PICTURE_TOKENS
from sa2va_native.models.prompts import (
    ADDED_TOKENS,
    EXPRESSION,
    TEXT_SLOT,
    Prompts,
)
from sa2va_native.models.tokenizer import NAMED, load_tokenizer
from tests.sa2va_native.datasets.faults import TEXTS

TOKENIZER = "assets/tiny/tokenizer"


@pytest.fixture(scope="module")
def prompts() -> Prompts:
    return Prompts(load_tokenizer(TOKENIZER), PICTURE_TOKENS, image_tokens=256)


def bpe_like() -> PreTrainedTokenizerFast:
    """Spells ``<|end|>`` as Qwen2.5 does after a full stop: ``.<``, ``|``, ``end``, ``|``, ``>``."""
    pieces = ["<pad>", "<eos>", "a", " dog", ".<", "|", "end", ">", ".", "[", "SEG", "]"]
    tokenizer = Tokenizer(WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="<pad>"))
    tokenizer.decoder = Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


def test_image_tokens_are_256_plus_the_cells_of_the_region(prompts):
    """The two cases of the run that this project answers.

    A 5 x 5 px object covers no cell when sampled nearest, and its prompt is refused rather than built with another
    number of tokens than embeddings; 36 cells give 292.
    """
    small = torch.zeros(448, 448, dtype=torch.bool)
    small[60:65, 60:65] = True
    assert int(region_grid(small.numpy(), 16, "nearest").sum()) == 0
    assert int((prompts.ask_segment("a circle") == prompts.image_id).sum()) == 256
    assert int((prompts.ask_caption(36) == prompts.image_id).sum()) == 292
    with pytest.raises(PromptError, match="0 cells"):
        prompts.ask_caption(0)


def test_seg_is_one_id_wherever_it_stands(prompts):
    for answer in ("Sure, [SEG].", "It is [SEG]", "[SEG]"):
        assert (prompts.answer_segment(answer) == prompts.seg_id).sum() == 1


def test_a_tokenizer_that_splits_seg_is_refused():
    """The failure behind a silent zero loss: `` [SEG]`` became ``[``, ``SEG``, ``]``."""
    tokenizer = bpe_like()
    tokenizer.add_tokens(list(PICTURE_TOKENS), special_tokens=True)
    with pytest.raises(ConfigError, match=r"\[SEG\]"):
        Prompts(tokenizer, PICTURE_TOKENS, 4)


@pytest.mark.parametrize("answer", ["Sure.", "[SEG] and [SEG]."])
def test_an_answer_needs_exactly_one_seg(prompts, answer):
    with pytest.raises(PromptError, match="expected 1"):
        prompts.answer_segment(answer)


@pytest.mark.parametrize("tokenizer", [TOKENIZER, *NAMED])
def test_no_human_text_costs_or_adds_a_seg_or_a_slot(tokenizer: str):
    """One ``[SEG]`` per expression, whatever the data say; red when a special token in it is read as one, or when a
    long text pushes the answer out.

    The failure behind "pred_embeddings_list 0 != frames_per_batch 1": the mask of a frame had no ``[SEG]``.
    """
    prompts = Prompts(load_tokenizer(tokenizer), PICTURE_TOKENS, image_tokens=64)
    for text in (*TEXTS, EXPRESSION):
        asked, caption = prompts.ask_segment(text), prompts.answer_caption(text)
        ids = torch.cat([asked, prompts.answer_segment()])
        assert int(prompts.seg_positions(ids[None])) > len(asked)
        assert int((ids == prompts.image_id).sum()) == 64
        assert not set(caption.tolist()) & (set(prompts.special_ids) - {prompts.tokenizer.unk_token_id})
        if tokenizer in NAMED:  # the tiny vocabulary is closed
            assert prompts.tokenizer.decode(caption) == f"{text}<|end|>"


def test_a_prompt_without_seg_is_an_error_not_a_zero_loss(prompts):
    with pytest.raises(PromptError, match="expected one"):
        prompts.seg_positions(prompts.ask_segment("a circle")[None])


def test_a_question_needs_a_place_for_the_expression(prompts):
    with pytest.raises(PromptError, match="expression"):
        prompts.ask_segment("a circle", "Please segment it.")


def test_embed_fills_slots_in_order_and_pads_left(prompts):
    """Red with right padding, with picture and region tokens exchanged, or when a slot keeps its table row."""
    table = nn.Embedding(len(prompts.tokenizer), 4)
    image, region = torch.arange(1024.0).view(256, 4), -torch.ones(3, 4)
    words = torch.full((2, 4), 7.0)
    rows = [prompts.ask_caption(3), prompts.ask_segment(2)]
    visual = [torch.cat([image, region]), image]
    embedded = prompts.embed(table, rows, visual, [words[:0], words])
    lengths = [len(row) for row in rows]
    assert embedded.attention_mask.sum(1).tolist() == lengths
    assert (embedded.attention_mask[:, -1] == 1).all()
    for row, tokens in zip(range(2), visual, strict=True):
        filled = embedded.inputs_embeds[row][embedded.ids[row] == prompts.image_id]
        assert torch.equal(filled, tokens)
    assert torch.equal(embedded.inputs_embeds[1][embedded.ids[1] == TEXT_SLOT], words)
    text = embedded.ids[0] == rows[0][-1]
    assert torch.equal(embedded.inputs_embeds[0][text][-1], table.weight[rows[0][-1]])


@pytest.mark.parametrize("tokens", [255, 257])
def test_another_number_of_embeddings_than_slots_is_refused(prompts, tokens):
    table = nn.Embedding(len(prompts.tokenizer), 4)
    with pytest.raises(PromptError, match=f"256 visual slots but {tokens}"):
        prompts.embed(table, [prompts.ask_segment("a circle")], [torch.zeros(tokens, 4)])


def test_words_as_text_and_as_ids_give_the_same_prompt(prompts):
    ids = torch.tensor(prompts.encode(" the small red circle"))
    assert torch.equal(prompts.ask_segment("the small red circle"), prompts.ask_segment(ids))
    slots = prompts.ask_segment(len(ids))
    assert torch.equal(torch.where(slots == TEXT_SLOT, -1, prompts.ask_segment(ids)), slots)


def test_text_survives_the_tiny_tokenizer(prompts):
    """Red when the word-level tokenizer loses spaces: captions would never match the grammar."""
    text = "the large striped blue square left of the green star"
    assert prompts.decode(prompts.encode(text)) == text
    assert prompts.tokenizer.unk_token_id not in prompts.encode(text)


def test_caption_ends_before_the_stop_word(prompts):
    """The stop word is not a special token and eos is another: red when generation runs on into junk and pads."""
    caption = prompts.encode("a small red circle")
    generated = torch.tensor(caption + prompts.encode("<|end|>\n") + [prompts.pad_id])
    kept, stopped = prompts.until_stop(generated)
    assert kept.tolist() == caption
    assert stopped
    kept, stopped = prompts.until_stop(torch.tensor(caption))
    assert kept.tolist() == caption
    assert not stopped


def test_a_token_that_straddles_the_stop_word_goes_with_it():
    tokenizer = bpe_like()
    tokenizer.add_tokens([*PICTURE_TOKENS, *ADDED_TOKENS], special_tokens=True)
    kept, stopped = Prompts(tokenizer, PICTURE_TOKENS, 4).until_stop(torch.tensor([2, 3, 4, 5, 6, 5, 7, 0, 0]))
    assert kept.tolist() == [2, 3]
    assert stopped


def test_eos_ends_a_caption_too(prompts):
    caption = prompts.encode("a circle")
    kept, stopped = prompts.until_stop(torch.tensor([*caption, prompts.tokenizer.eos_token_id, 5, 5]))
    assert kept.tolist() == caption
    assert stopped

"""Prompts: the one place where text, special tokens and slots become token ids, and slots meet their embeddings.

A prompt is a 1-D tensor of ids. Visual slots hold the id of ``<IMG_CONTEXT>``, or the base model's own; slots
for differentiable words hold :data:`TEXT_SLOT`. :meth:`Prompts.embed` fills both and refuses any count that does not
match.

Chat format: phi3_chat, with which Sa2VA-4B was trained. No Qwen tokenizer has its markers as special tokens:
``<|end|>`` is several tokens there, and may even share one with the full stop before it. A stop word is therefore
searched for in text, never as an id.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from sa2va_native.errors import ConfigError, PromptError
from sa2va_native.models.protocols import PictureTokens
from sa2va_native.models.word_pieces import WordPieces, find_word_pieces

SEG, REGION_START, REGION_END = "[SEG]", "<vp>", "</vp>"
#: The five tokens that Sa2VA adds to the base model's vocabulary, in the order of their ids.
ADDED_TOKENS = (SEG, "<p>", "</p>", REGION_START, REGION_END)

USER, END, ASSISTANT = "<|user|>\n", "<|end|>", "\n<|assistant|>\n"
EXPRESSION = "{expression}"
SEGMENT_QUESTIONS = (
    f"Please segment {EXPRESSION} in this image.",
    f"Can you segment {EXPRESSION} in this image?",
)
SEGMENT_ANSWERS = (f"Sure, {SEG}.", f"It is {SEG}.")
REGION_QUESTION = (
    "There are 1 part regions in the picture: region1{region}.\n"
    "Please generate a detailed description for the given image region."
)

#: Marks a position whose embedding is a differentiable word, not a row of the table.
TEXT_SLOT = -1
#: Marks a position that the language-model loss leaves out (PyTorch's ``ignore_index``).
NO_LABEL = -100


class EmbeddedPrompts(NamedTuple):
    """A left-padded batch, ready for the language model."""

    ids: Tensor  #: [B, L] int64, pads and slots included
    inputs_embeds: Tensor  #: [B, L, D]
    attention_mask: Tensor  #: [B, L] int64, 0 at pads


class Prompts:
    """Builds and embeds prompts for one tokenizer.

    Args:
        tokenizer: knows :data:`ADDED_TOKENS` and ``picture_tokens`` as one id each.
        picture_tokens: the base model's.
        image_tokens: visual tokens of a whole picture (256 for 448 px, 64 for the tiny model).

    Raises:
        ConfigError: the tokenizer splits one of the special tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, picture_tokens: PictureTokens, image_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.picture_tokens = picture_tokens
        self.image_tokens = image_tokens
        self._special = {t: self._single_id(t) for t in (*picture_tokens, *ADDED_TOKENS)}
        self._splitter = re.compile("(" + "|".join(map(re.escape, self._special)) + ")")
        self.seg_id = self._special[SEG]
        self.image_id = self._special[picture_tokens.context]
        self.pad_id = tokenizer.pad_token_id
        #: Ids that are not words: the tokenizer's special tokens, Sa2VA's among them.
        added = tokenizer.get_added_vocab().values()
        self.special_ids = sorted({*tokenizer.all_special_ids, *added, *self._special.values()})
        #: All other ids [R], on the CPU even when the model is built elsewhere, as prompts are built there.
        self.word_ids = torch.tensor(sorted(set(range(len(tokenizer))) - set(self.special_ids)), device="cpu")
        if self.pad_id is None:
            raise ConfigError(f"tokenizer {tokenizer.name_or_path!r} has no pad token: set one before use")

    def _single_id(self, token: str) -> int:
        token_id = self.tokenizer.convert_tokens_to_ids(token)
        if token_id is None or token_id == self.tokenizer.unk_token_id:
            raise ConfigError(
                f"tokenizer {self.tokenizer.name_or_path!r} does not know {token!r} as one token: add it with "
                "tokenizer.add_tokens([...], special_tokens=True) before building the model"
            )
        return token_id

    @cached_property
    def word_pieces(self) -> WordPieces:
        """Which tokens begin and continue words; special tokens do neither. On the CPU, found at first use."""
        return find_word_pieces(self.tokenizer, self.special_ids)

    def encode(self, text: str) -> list[int]:
        """Ids of ``text``; special tokens are spliced in by id, whatever the tokenizer would make of them."""
        ids: list[int] = []
        for piece in self._splitter.split(text):
            if piece in self._special:
                ids.append(self._special[piece])
            elif piece:
                ids.extend(self.tokenizer.encode(piece, add_special_tokens=False))
        return ids

    def encode_human(self, text: str) -> list[int]:
        """Ids of human text, in which a special token is split into pieces like any other text.

        So no sentence of a data set can add a slot, an end of text, or another ``[SEG]``.
        """
        return self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

    def decode(self, ids: list[int] | Tensor) -> str:
        """Text of ``ids`` without special tokens, including those that were split into pieces."""
        return self._splitter.sub("", self.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def _pictures(self, count: int = 1) -> str:
        start, end, context = self.picture_tokens
        return USER + f"{start}{context * self.image_tokens}{end}\n" * count

    def ask_caption(self, region_cells: int) -> Tensor:
        """Prompt that asks for a description of a region of ``region_cells`` >= 1 visual tokens.

        Raises:
            PromptError: the region has no cell, so it cannot be described.
        """
        if region_cells < 1:
            raise PromptError(
                "the region covers 0 cells of the token grid, so there is nothing to describe: drop the sample or "
                "choose region_pooling='any', which keeps small objects"
            )
        slots = self.picture_tokens.context * region_cells
        question = REGION_QUESTION.format(region=f"{REGION_START}{slots}{REGION_END}")
        return torch.tensor(self.encode(f"{self._pictures()}{question}{END}{ASSISTANT}"))

    def answer_caption(self, caption: str) -> Tensor:
        """Ids of a human caption and the stop word that ends it."""
        return torch.tensor(self.encode_human(f"{caption}{END}"))

    def ask_segment(
        self, expression: str | Tensor | int, question: str = SEGMENT_QUESTIONS[0], pictures: int = 1
    ) -> Tensor:
        """Prompt that asks for the mask of an expression: a text, its ids [T], or a number of word slots.

        ``pictures`` is the number of frames that the prompt shows.

        Raises:
            PromptError: the question has no place for the expression.
        """
        before, place, after = question.partition(EXPRESSION)
        if not place:
            raise PromptError(f"question {question!r} has no {EXPRESSION!r}: say where the expression goes")
        if isinstance(expression, str):
            # The space belongs to the first word, as byte-level BPE would have it in running text.
            words = self.encode_human(f" {expression}")
        elif isinstance(expression, int):
            words = [TEXT_SLOT] * expression
        else:
            words = expression.tolist()
        head = self.encode(self._pictures(pictures) + before.rstrip(" "))
        return torch.tensor(head + words + self.encode(f"{after}{END}{ASSISTANT}"))

    def answer_segment(self, answer: str = SEGMENT_ANSWERS[0]) -> Tensor:
        """Ids of an answer that holds exactly one ``[SEG]``, and the stop word that ends it.

        Raises:
            PromptError: there is no ``[SEG]``, or more than one.
        """
        ids = torch.tensor(self.encode(f"{answer}{END}"))
        if (count := int((ids == self.seg_id).sum())) != 1:
            raise PromptError(f"answer {answer!r} holds {count} {SEG} tokens, expected 1: write it with one {SEG}")
        return ids

    def embed(
        self,
        table: nn.Module,
        prompts: Sequence[Tensor],
        visual: Sequence[Tensor],
        words: Sequence[Tensor] | None = None,
    ) -> EmbeddedPrompts:
        """Left-pad ``prompts`` and fill every slot.

        Args:
            table: the input embedding of the language model.
            prompts: B id tensors [L_i].
            visual: B tensors [n_i, D]: picture tokens, then region tokens.
            words: B tensors [T_i, D] for the :data:`TEXT_SLOT` positions.

        Raises:
            PromptError: the number of slots in a prompt differs from the number of embeddings given for it.
        """
        words = words if words is not None else [visual[0].new_zeros(0, visual[0].shape[-1])] * len(prompts)
        for i, (ids, tokens, text) in enumerate(zip(prompts, visual, words, strict=True)):
            for name, slots, given in (("visual", ids == self.image_id, tokens), ("word", ids == TEXT_SLOT, text)):
                if int(slots.sum()) != len(given):
                    raise PromptError(
                        f"prompt {i} has {int(slots.sum())} {name} slots but {len(given)} {name} embeddings were "
                        "given: build both from the same region and caption"
                    )
        device = visual[0].device
        length = max(len(ids) for ids in prompts)
        ids = torch.full((len(prompts), length), self.pad_id)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, length - len(prompt) :] = prompt
            mask[row, length - len(prompt) :] = 1
        ids, mask = ids.to(device), mask.to(device)
        embeds = table(ids.clamp(min=0))
        for slot, rows in ((self.image_id, visual), (TEXT_SLOT, words)):
            filled = torch.cat(list(rows)).to(embeds.dtype)
            embeds = embeds.masked_scatter((ids == slot)[..., None], filled)
        return EmbeddedPrompts(ids, embeds, mask)

    def seg_positions(self, ids: Tensor) -> Tensor:
        """Position of the one ``[SEG]`` in each row of ``ids`` [B, L] -> [B].

        Raises:
            PromptError: a row does not hold exactly one.
        """
        found = ids == self.seg_id
        if not bool((found.sum(1) == 1).all()):
            raise PromptError(
                f"expected one {SEG} (id {self.seg_id}) in each prompt, found {found.sum(1).tolist()}: without it "
                "there is no mask and the loss would silently be zero"
            )
        return found.int().argmax(1)

    def until_stop(self, generated: Tensor) -> tuple[Tensor, bool]:
        """Cut a generated row [T] before its stop word: ids of the caption, and whether a stop was met.

        A token that straddles the caption and the stop word is cut with the stop word.
        """
        ends = {self.pad_id, self.tokenizer.eos_token_id}
        ids = generated.tolist()
        eos_at = next((i for i, token in enumerate(ids) if token in ends), None)
        ids = ids if eos_at is None else ids[:eos_at]
        stop_at = self.tokenizer.decode(ids).find(END)
        if stop_at < 0:
            return generated[: len(ids)], eos_at is not None
        keep = 0
        while keep < len(ids) and len(self.tokenizer.decode(ids[: keep + 1]).rstrip()) <= stop_at:
            keep += 1
        return generated[:keep], True

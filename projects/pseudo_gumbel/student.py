"""What the cycle needs of its student model."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor, nn

from sa2va_native.models.context import Context
from sa2va_native.models.decoding import Decoding, growing
from sa2va_native.models.pictures import Pictures
from sa2va_native.models.prompts import EmbeddedPrompts
from sa2va_native.models.protocols import MaskPrediction
from sa2va_native.models.word_pieces import WordPieces
from sa2va_native.structures import Batch, DrawKey, Side


class StudentPrompts(Protocol):
    """Builds the prompts of the cycle as ids, and fills their slots; :class:`sa2va_native.models.prompts.Prompts`."""

    #: Ids [R] of ordinary words, which may replace words of a caption; on the CPU.
    word_ids: Tensor

    @property
    def word_pieces(self) -> WordPieces:
        """Which tokens [V] begin a word, and which go on with one; on the CPU."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of one of the project's own texts, such as the stop word."""
        ...

    def encode_human(self, text: str) -> list[int]:
        """Ids of a human's text, in which a special token counts as any other letters; for the diagnosis."""
        ...

    def ask_segment(self, expression: str | Tensor | int, question: str) -> Tensor:
        """Ids [L] of a question for a mask; an expression given as a number becomes that many word slots."""
        ...

    def answer_segment(self, answer: str) -> Tensor:
        """Ids [L] of the answer that holds the one ``[SEG]``."""
        ...

    def embed(
        self, table: nn.Module, prompts: Sequence[Tensor], visual: Sequence[Tensor], words: Sequence[Tensor] | None
    ) -> EmbeddedPrompts:
        """B prompts [L_i], left-padded and filled with visual tokens [n_i, D] and words [T_i, D]."""
        ...

    def seg_positions(self, ids: Tensor) -> Tensor:
        """Position [B] of the one ``[SEG]`` in each row of ids [B, L]."""
        ...

    def decode(self, ids: list[int] | Tensor) -> str:
        """Text of ids [T], without special tokens; for monitoring."""
        ...


class Student(Protocol):
    """A model that segments what a text names and describes what a mask shows. A :class:`torch.nn.Module`.

    :class:`sa2va_native.models.Sa2VA` is one. B samples, T caption tokens, V vocabulary, D hidden size, g side of the
    grid of visual tokens, h w mask size; more letters in :mod:`sa2va_native.structures`.
    """

    #: Seed of all random draws; the train loop sets it to the run's.
    seed: int
    #: Keywords of :func:`sa2va_native.models.losses.mask_losses`.
    mask_loss: dict[str, Any]

    @property
    def prompts(self) -> StudentPrompts:
        """Builds the ids of prompts."""
        ...

    @property
    def embedding(self) -> nn.Module:
        """Input embedding: ids [...] -> [..., D], with ``num_embeddings`` V. A soft word is a mean of its rows."""
        ...

    @property
    def is_partitioned(self) -> bool:
        """Whether each forward pass is a collective (ZeRO-3), so that all ranks must run the same ones."""
        ...

    def __call__(self, batch: Batch, mode: str) -> Any:
        """MMEngine's entry, for the batches that are not the cycle's and for evaluation."""
        ...

    def encode_pictures(
        self, side: Side, *, grounding: bool = True, looks: Sequence[Hashable] | None = None
    ) -> Pictures:
        """Features of the frozen towers, without autograd; the mask model's maps only if ``grounding``.

        Samples with the same one of B ``looks`` show the same picture.
        """
        ...

    def caption(self, pictures: Pictures, region: Tensor, decoding: Decoding = growing) -> list[tuple[Tensor, bool]]:
        """Greedy captions of regions [B, g, g]: B pairs of ids [T_i], words only, and "did it stop". No gradient.

        ``decoding`` is how the next token is found.
        """
        ...

    def caption_prompts(self, region: Tensor) -> list[Tensor]:
        """B prompts [L_i] that ask for captions of regions [B, g, g]."""
        ...

    def caption_logits(
        self, pictures: Pictures, region: Tensor, fed: Sequence[Tensor], targets: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Logits [B, T, V] at the caption positions, with gradient, and labels [B, T].

        Args:
            pictures: of picture 1.
            region: [B, g, g] bool.
            fed: B id tensors [T_i], which the model reads (teacher forcing).
            targets: B id tensors [T_i], from which the labels are made.
        """
        ...

    def choose_wording(self, key: DrawKey) -> tuple[str, str]:
        """Question and answer template of a sample, drawn from its key and :attr:`seed`."""
        ...

    def visual_tokens(
        self, vision: Tensor, region: Tensor | None = None, shown: Sequence[int] | None = None
    ) -> list[Tensor]:
        """Features [P, g * g, C] -> B tensors [n_i, D], with gradient; the tokens of a region follow those of all.

        ``shown`` [B] tells which picture each sample shows; None: its own.
        """
        ...

    def hidden_states(self, prompts: EmbeddedPrompts, context: Context | None = None) -> Tensor:
        """Last hidden states [B, L, D] of filled prompts, with gradient to what fills them.

        They go on from what ``context`` has read, and extend it; then without gradient.
        """
        ...

    def next_token_logits(self, hidden: Tensor, targets: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits [B, T, V] at the last T_i of hidden states [B, L, D], and labels [B, T] from targets [T_i]."""
        ...

    def mask_from(self, hidden: Tensor, ids: Tensor, pictures: Pictures) -> MaskPrediction:
        """Masks from the hidden states [N, L, D] at the one ``[SEG]`` of each row of ids [N, L], with gradient.

        Each sample has the same number of rows, one after the other.
        """
        ...

    def gradient_groups(self) -> dict[str, list[nn.Parameter]]:
        """The trained parameters by part; for monitoring."""
        ...

    @property
    def mask_groups(self) -> set[str]:
        """Which of these parts are used by masks alone, not by captions."""
        ...

    def named_parameters(self) -> Any:
        """As in :class:`torch.nn.Module`: names and parameters, for the teacher."""
        ...


if TYPE_CHECKING:
    from sa2va_native.models.sa2va import Sa2VA

    _: type[Student] = Sa2VA

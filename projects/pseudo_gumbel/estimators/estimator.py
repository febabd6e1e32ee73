"""What every estimator has in common."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from pseudo_gumbel.gumbel import Words
from pseudo_gumbel.step import CycleStep


class TriedWords(NamedTuple):
    """Words that were tried at one place of a caption; for monitoring."""

    start: int  #: first token of the place
    stop: int  #: the token after its last one
    words: list[Tensor]  #: K id tensors, which were put there in turn
    rows: list[int]  #: K, which of the step's N readings each one was
    prior: Tensor  #: [K] the teacher's probabilities
    posterior: Tensor  #: [K] what the student learns


class Estimator(Protocol):
    """Decides which words are read (step 4), and what the captioner learns from what they cost (step 6).

    In between the reader turns the words into masks. Inherit from this class for the defaults;
    docs/extending/estimator.md has an example. All ranks must do the same forward passes, whatever captions they hold:
    the number of readings is fixed, and an empty caption is read like any other and weighs nothing
    (:attr:`CycleStep.spoken`).
    """

    readings: int = 1  #: S, how often each sample is read
    words_mixed: int = 1  #: K, of how many candidates a word that is read is mixed; for the memory plan
    reads_with_gradient: bool = True  #: whether gradient flows through the reading, to words and reader
    rates_stop: bool = False  #: whether the logits include the stop word, if the caption has one

    def check(self, vocabulary: int) -> None:
        """Refuse options that do not fit a vocabulary of this size; called once, when the model is built.

        Raises:
            ConfigError: naming the option.
        """

    def words(self, step: CycleStep) -> Words:
        """Step 4: the words that are read, N = B * S rows, those of a sample one after the other."""
        ...

    def losses(self, step: CycleStep) -> dict[str, Tensor]:
        """Step 6: scalars from the readings' costs [N] and words.

        Values with "loss" in their name are summed and trained on, others are logged. Each is a mean over the B
        samples, silent ones included, so that the mean over ranks is that of the joint batch.
        """
        ...

    def tried(self, step: CycleStep, sample: int) -> list[TriedWords]:
        """The places of a sample's caption where words were tried, from a whole step; none by default."""
        return []

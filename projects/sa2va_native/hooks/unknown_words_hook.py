"""Says which words of the texts that a run is trained on its tokenizer does not know."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from sa2va_native.datasets.reading.texts import unknown_note
from sa2va_native.models.unknown_words import UnknownWords, unknown_words_of
from sa2va_native.parallel.unwrap import unwrap_model


@HOOKS.register_module()
class UnknownWordsHook(Hook):
    """Warns at the first unknown word that a rank meets, and counts those of all ranks at the end.

    It does nothing where the tokenizer knows every text, as that of Qwen does.
    """

    def __init__(self) -> None:
        self.words: Counter[str] = Counter()
        self.texts = self.concerned = 0  #: texts that were trained on; those with an unknown word
        self._find: UnknownWords | None = None

    def before_train(self, runner: Any) -> None:
        modules = unwrap_model(runner.model).modules()
        tokenizer: Any = next((module.tokenizer for module in modules if hasattr(module, "tokenizer")), None)
        self._find = None if tokenizer is None else unknown_words_of(tokenizer)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if self._find is None or not isinstance(data_batch, dict) or "batch" not in data_batch:
            return
        for text in filter(None, data_batch["batch"].text):
            self.texts += 1
            if found := self._find(text):
                if not self.words:
                    named = ", ".join(map(repr, found))
                    runner.logger.warning(
                        f"The tokenizer does not know {named} of the text {text!r:.200}: these words "
                        "are lost. The end of the log counts all of them."
                    )
                self.concerned += 1
                self.words.update(found)

    def after_train(self, runner: Any) -> None:
        """On all ranks."""
        ranks = all_gather_object((self.words, self.concerned, self.texts))
        words: Counter[str] = sum((one for one, *_ in ranks), Counter())
        if words:
            concerned, texts = (sum(rank[place] for rank in ranks) for place in (1, 2))
            runner.logger.warning(f"Texts trained on: {unknown_note(words, concerned, texts)}")

"""A metric over the samples of one source, pooled over ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric


class PooledMetric(BaseMetric):
    """Every sample of every rank counts once, however many samples each rank has.

    MMEngine's own collection expects the same number on every rank and drops the rest; without padding, ranks have
    different numbers.

    Args:
        source: name of the mixture's source whose samples are scored; None scores all. It also prefixes the keys.
        kind: kind of the samples that are scored (subclasses set it).
    """

    kind: str

    def __init__(self, source: str | None = None) -> None:
        super().__init__(prefix=source)
        self.source = source

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep :meth:`score` of each sample of this metric's kind and source."""
        for sample in data_samples:
            if sample["kind"] == self.kind and self.source in (None, sample["source"]):
                self.results.append(self.score(sample))

    def score(self, sample: dict[str, Any]) -> Any:
        """What :meth:`compute_metrics` needs from one result of the model's ``predict``."""
        raise NotImplementedError

    def evaluate(self, size: int) -> dict[str, float]:
        """Metrics over all ranks; ``size`` is not needed. A collective: all ranks call it."""
        pooled = [result for part in all_gather_object(self.results) for result in part]
        self.results.clear()
        prefix = f"{self.prefix}/" if self.prefix else ""
        return {f"{prefix}{name}": value for name, value in self.compute_metrics(pooled).items()}

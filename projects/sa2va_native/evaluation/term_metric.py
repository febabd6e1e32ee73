"""Metrics whose figures are ratios of sums over samples."""

from __future__ import annotations

from typing import Any

from sa2va_native.evaluation.pooled_metric import PooledMetric
from sa2va_native.evaluation.terms import Terms, ratio


class TermMetric(PooledMetric):
    """Reports the ratio of each figure of :meth:`score`; figures that no sample has a term of are left out."""

    def score(self, sample: dict[str, Any]) -> Terms:
        """The sample's terms, see :mod:`sa2va_native.evaluation.terms`."""
        raise NotImplementedError

    def compute_metrics(self, results: list[Terms]) -> dict[str, float]:
        names = dict.fromkeys(name for terms in results for name in terms)
        return {name: ratio(terms[name] for terms in results if name in terms) for name in names}

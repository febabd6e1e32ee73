"""What a paper's table says of true expressions beside cIoU and gIoU; all in 0..1.

A missing ``pred_mask`` is an empty mask. An expression without a target, as in gRefCOCO, has an empty ``gt_mask``.
"""

from __future__ import annotations

from typing import Any

from mmengine.registry import METRICS

from sa2va_native.evaluation.term_metric import TermMetric
from sa2va_native.evaluation.terms import Terms, boundary_terms, precision_terms, size_terms, target_terms


@METRICS.register_module()
class ReferringPrecision(TermMetric):
    """P@0.5 to P@0.9: the share of expressions with a target whose IoU is at least that.

    Reports ``refer_p50``, ``refer_p60``, ``refer_p70``, ``refer_p80`` and ``refer_p90``.
    """

    kind = "refer"

    def score(self, sample: dict[str, Any]) -> Terms:
        return precision_terms(sample)


@METRICS.register_module()
class ReferringTargets(TermMetric):
    """Whether there is a target at all (GRES, arXiv 2306.00968).

    Reports ``refer_n_acc``, the share of expressions without a target that get no pixel, and ``refer_t_acc``, the share
    of those with one that get any.
    """

    kind = "refer"

    def score(self, sample: dict[str, Any]) -> Terms:
        return target_terms(sample)


@METRICS.register_module()
class ReferringSizes(TermMetric):
    """cIoU and gIoU of small, medium and large objects, see :func:`sa2va_native.evaluation.terms.size_of`.

    Reports ``refer_ciou_small``, ``refer_giou_small``, and the same for ``medium`` and ``large``.
    """

    kind = "refer"

    def score(self, sample: dict[str, Any]) -> Terms:
        return size_terms(sample)


@METRICS.register_module()
class ReferringBoundary(TermMetric):
    """The boundary measure F of DAVIS, mean over expressions with a target: ``refer_boundary_f``."""

    kind = "refer"

    def score(self, sample: dict[str, Any]) -> Terms:
        return boundary_terms(sample)

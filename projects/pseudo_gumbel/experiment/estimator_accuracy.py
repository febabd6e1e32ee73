"""How close an estimator's gradient comes to the exact one, which enumeration gives. Pure functions of tensors.

N objects, R draws, V words of the vocabulary. The gradient is that of the expected cost with respect to the logits at
one position of each caption; the objects count as one long vector [N * V], since they do not share logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: A figure whose square is below so many standard errors of it is not told from zero.
STANDARD_ERRORS = 2.0
#: Relative to the exact gradient; what is shorter is rounding.
ROUNDING = 1e-3


def exact_gradient(log_p: Tensor, costs: Tensor) -> Tensor:
    """p_k (c_k - E c): the gradient of E_p[c] with respect to logits [..., V].

    Args:
        log_p: [..., V] log-probabilities.
        costs: [..., V]; what is not finite counts as never said.
    """
    known = costs.isfinite()
    p = log_p.masked_fill(~known, -torch.inf).softmax(-1)
    costs = costs.masked_fill(~known, 0.0)
    return p * (costs - (p * costs).sum(-1, keepdim=True))


@dataclass(frozen=True)
class Accuracy:
    """What the draws of an estimator tell about its expectation and its noise."""

    bias: float  #: |mean - exact| / |exact|, the noise of the mean taken out; an upper limit if not ``biased``
    biased: bool  #: whether the bias is told from zero
    bias_error: float  #: standard error of ``bias``
    along: float  #: projection of the mean on the exact gradient, over |exact|; 1 where there is no bias
    along_error: float  #: its standard error over objects
    cosine: float  #: of mean and exact, the noise of the mean taken out; nan if the mean is not told from zero
    signal_to_noise: float  #: of the projection of one draw of one object: its mean over its standard deviation
    right_sign: float  #: share of objects whose mean points to the exact gradient's side; nan for no gradient


def accuracy(draws: Tensor, exact: Tensor, strata: int = 1) -> Accuracy:
    """Compares draws [R, N, V] of a gradient with its exact value [N, V].

    Args:
        draws: independent but for draws r and r + ``strata``, which have other chance events in common, such as the
            points of a cost.
        exact: [N, V].
        strata: M, a divisor of R with R / M >= 2; the exact value is the mean over M equally likely events.
    """
    draws, exact = draws.double(), exact.double()
    of_strata = draws.unflatten(0, (-1, strata))
    mean = of_strata.mean((0, 1))
    noise = of_strata.var(0).sum(-1).mean(0) / len(draws)  # [N] expected |mean - its expectation|^2
    size = exact.square().sum(-1)
    bias2, bias2_error = _over_objects((mean - exact).square().sum(-1) - noise, size)
    length2, length2_error = _over_objects(mean.square().sum(-1) - noise, size)
    along, along_error = _over_objects((mean * exact).sum(-1), size)
    biased = bias2 > max(STANDARD_ERRORS * bias2_error, ROUNDING**2)
    bias = (bias2 if biased else max(0.0, bias2) + STANDARD_ERRORS * bias2_error) ** 0.5
    told = length2 > STANDARD_ERRORS * length2_error
    direction = exact / size.sqrt().clamp(min=1e-12)[:, None]
    projections = (draws * direction).sum(-1)
    return Accuracy(
        bias=bias,
        biased=biased,
        bias_error=bias2_error / (2 * bias) if biased else float("nan"),
        along=along,
        along_error=along_error,
        cosine=max(-1.0, min(1.0, along / length2**0.5)) if told else float("nan"),
        signal_to_noise=float(projections.mean() / projections.std().clamp(min=1e-12)),
        right_sign=float((projections.mean(0) > 0).double().mean()) if draws.any() else float("nan"),
    )


def _over_objects(values: Tensor, sizes: Tensor) -> tuple[float, float]:
    """sum(values) / sum(sizes) of [N] objects, and the standard error that comes from which objects were taken."""
    ratio = values.sum() / sizes.sum()
    apart = values - ratio * sizes
    count = len(values)
    return float(ratio), float((apart.square().sum() * count / max(1, count - 1)).sqrt() / sizes.sum())

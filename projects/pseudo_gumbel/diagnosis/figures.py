"""The figures of a diagnosis, and how they come out of what was observed on single objects."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from pseudo_gumbel.diagnosis.probe import Probe

#: Words cost differently, and a better word is a gain, from this much cost on (2.0 BCE + 0.5 dice, all pixels).
MATTERS = 0.1


@dataclass
class Observations:
    """What was seen: lists grow object by object, and row i of the lists of one block is the same object."""

    # every object
    greedy_iou: list[float] = field(default_factory=list)
    floor_iou: list[float] = field(default_factory=list)  #: one fewer: the first has no caption before it
    sampled_iou: list[list[float]] = field(default_factory=list)
    # every object whose caption has a word; [K] each, nan for words that were left out
    costs: list[list[float]] = field(default_factory=list)
    ious: list[list[float]] = field(default_factory=list)
    log_p: list[list[float]] = field(default_factory=list)
    entropy: list[float] = field(default_factory=list)  #: nats, over the whole vocabulary
    empty: list[list[float]] = field(default_factory=list)
    elsewhere: list[list[float]] = field(default_factory=list)
    fall: list[float] = field(default_factory=list)
    sign: list[float] = field(default_factory=list)
    straight_through: list[float] = field(default_factory=list)
    soft: list[float] = field(default_factory=list)
    # every object with a human text
    human_iou: list[float] = field(default_factory=list)
    greedy_of_human_iou: list[float] = field(default_factory=list)
    human_costs: list[list[float]] = field(default_factory=list)  #: [K]; the first word is the human's
    human_log_p: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True)
class Figures:
    """What :func:`pseudo_gumbel.diagnosis.rules.recommend` judges; shares and IoU 0..1, nan where unknown."""

    objects: int
    with_human_text: int
    # what the reader can tell apart
    alternatives: float  #: mean number of words that the captioner finds likely at a position
    words_matter: float  #: share of positions where best and worst word differ by MATTERS or more
    spread: float  #: mean cost between best and worst word
    true_cheapest: float  #: share of human texts whose word is the cheapest, where words matter
    true_chance: float  #: that share, if the reader could not tell
    # what the captioner knows
    entropy: float  #: nats, at the positions
    p_best: float  #: mean probability of the word that leads back best, where words matter
    p_chance: float  #: that probability, if the captioner did not know
    better: float  #: share of captions in which another word costs less by MATTERS or more
    greedy_is_best: float  #: share of positions where words matter and the caption's word is the best
    p_true: float  #: mean probability of the human's word among the alternatives, where words matter
    # head-room, all mean IoU
    floor: float  #: captions of other objects
    greedy: float
    sampled: float  #: one sampled caption
    best_sampled: float  #: best of the sampled captions
    best_word: float  #: greedy, with the best word at one position
    greedy_of_human: float  #: greedy, of the objects with a human text
    human: float  #: their human text
    # where words lead
    empty: float  #: share of the words tried that lead to an empty mask
    elsewhere: float  #: share whose mask hardly touches the object
    # slopes
    fall: float  #: promised by the slope at the caption's word, over real (ratio of sums)
    sign: float  #: share of right signs
    straight_through: float  #: mean cosine of the mean push with the exact one
    soft: float
    # the learning rate
    run_steps: int
    probes: tuple[Probe, ...]  #: the config's own rate first, then higher ones until one moves the captions

    def as_dict(self) -> dict[str, Any]:
        """Plain values, nan as None."""
        values = asdict(self)
        values["probes"] = [
            {**one._asdict(), "per_step": one.per_step, "at_the_end": one.at_the_end(self.run_steps)}
            for one in self.probes
        ]
        return {name: None if value != value else value for name, value in values.items()}


def summarise(seen: Observations, run_steps: int, probes: tuple[Probe, ...] = ()) -> Figures:
    """Means over objects; see :class:`Figures`."""
    costs, ious, log_p = (_table(one) for one in (seen.costs, seen.ious, seen.log_p))
    kept = ~costs.isnan()
    cheapest = costs.nan_to_num(torch.inf).amin(1)
    best = costs.nan_to_num(torch.inf).argmin(1)
    spread = _spread(costs)
    gain = costs[:, 0] - cheapest
    matter = spread >= MATTERS
    p_best = log_p.exp().gather(1, best[:, None])[:, 0]
    true_costs, true_log_p = _table(seen.human_costs), _table(seen.human_log_p)
    true_kept = ~true_costs.isnan()
    tried = _spread(true_costs) >= MATTERS  # elsewhere the cheapest word is chance
    sampled = _table(seen.sampled_iou)
    greedy = _mean(torch.tensor(seen.greedy_iou))
    return Figures(
        objects=len(seen.greedy_iou),
        with_human_text=len(seen.human_iou),
        alternatives=_mean(kept.sum(1).float()),
        words_matter=_mean(matter.float()),
        spread=_mean(spread),
        true_cheapest=_mean((true_costs.nan_to_num(torch.inf).argmin(1) == 0)[tried].float()),
        true_chance=_mean(1 / true_kept.sum(1)[tried]),
        entropy=_mean(torch.tensor(seen.entropy)),
        p_best=_mean(p_best[matter]),
        p_chance=_mean(1 / kept.sum(1)[matter].float()),
        better=_mean((gain >= MATTERS).float()),
        greedy_is_best=_mean((best == 0)[matter].float()),
        p_true=_mean(true_log_p[tried, 0].exp()),
        floor=_mean(torch.tensor(seen.floor_iou)),
        greedy=greedy,
        sampled=_mean(sampled.flatten()),
        best_sampled=_mean(sampled.amax(1)),
        # a caption without a word stays as it is
        best_word=greedy
        + float((ious.gather(1, best[:, None])[:, 0] - ious[:, 0]).sum()) / max(1, len(seen.greedy_iou)),
        greedy_of_human=_mean(torch.tensor(seen.greedy_of_human_iou)),
        human=_mean(torch.tensor(seen.human_iou)),
        empty=_mean(_table(seen.empty).flatten()),
        elsewhere=_mean(_table(seen.elsewhere).flatten()),
        fall=_ratio(seen.fall, costs),
        sign=_mean(torch.tensor(seen.sign)),
        straight_through=_mean(torch.tensor(seen.straight_through)),
        soft=_mean(torch.tensor(seen.soft)),
        run_steps=run_steps,
        probes=probes,
    )


_NAN = float("nan")


def _mean(values: Tensor) -> float:
    """Without nan; nan if nothing is left."""
    return float(values.float().nanmean())


def _table(rows: list[list[float]]) -> Tensor:
    """[objects, K]; one row of nan for no object."""
    return torch.tensor(rows or [[_NAN]], dtype=torch.float32)


def _spread(costs: Tensor) -> Tensor:
    """Difference [objects] between the dearest and the cheapest of K words; nan without any."""
    return (costs.nan_to_num(-torch.inf).amax(1) - costs.nan_to_num(torch.inf).amin(1)).nan_to_num(neginf=torch.nan)


def _ratio(falls: list[float], costs: Tensor) -> float:
    """Sum of the promised gains over the sum of the real ones."""
    if not falls:
        return _NAN
    real = costs[:, 0] - costs.nan_to_num(torch.inf).amin(1)
    promised = torch.tensor(falls) * real
    used = ~promised.isnan()
    return float(promised[used].sum() / real[used].sum()) if used.any() else _NAN

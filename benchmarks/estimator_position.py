"""Objects and one position of each caption, at which gradients are compared; for benchmarks/estimators.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from pseudo_gumbel.costs import AllPixelCost, UncertainPointCost
from pseudo_gumbel.experiment.estimator_accuracy import exact_gradient
from pseudo_gumbel.gumbel import Words, hard_words
from pseudo_gumbel.readers.reader import embed_words, masks_from_shared_heads, masks_from_text
from pseudo_gumbel.step import CycleStep
from sa2va_native.models.prompts import END
from sa2va_native.structures import Batch

#: Logit of the teacher's word where nothing is estimated: no noise moves it, at any temperature.
PEAK = 1e4
#: Words below this probability are left out of the enumeration.
LEAST_P = 1e-6


class Position:
    """B objects and one position of each caption: where the teacher is least sure, or where it says a colour.

    Everywhere else the logits leave no choice but the teacher's words. Costs are numbered j = 0 .. M: M draws of
    points, then all pixels. What a word costs, and the slope of the cost at it, are read once and looked up afterwards:
    readings draw nothing, so a second one would give the same.

    Args:
        model: PseudoGumbel in evaluation mode, without a teacher of its own.
        batch: of kind ``cycle``.
        points: M.
        among: words, as ids, one of which the teacher says at the position, if it says any; none: any word will do.
    """

    def __init__(self, model: Any, batch: Batch, points: int, among: Sequence[int] = ()) -> None:
        self.model, self.batch, self.points = model, batch, points
        self.student, self.size = model.student, len(batch.keys)
        self.rows = torch.arange(self.size)
        self.stop_ids = torch.tensor(self.student.prompts.encode(END))
        self.start = model.begin(batch)
        self.captions = model.teacher_captions(self.start.pictures1, self.start.side1.region)
        self.start.captions, self.start.corrupted = self.captions, self.captions.ids
        with torch.no_grad():
            log_p = model.student_logits(self.start).float().log_softmax(-1)
        entropy = -(log_p.exp() * log_p).sum(-1)
        worded = torch.arange(log_p.shape[1]) < self.captions.lengths[:, None]
        chosen = worded & torch.isin(self.captions.padded, torch.tensor(among, dtype=torch.long))
        worded = chosen.where(chosen.any(1, keepdim=True), worded)
        self.at = entropy.masked_fill(~worded, -1.0).argmax(1)  #: [B]
        self.log_p = log_p[self.rows, self.at]  #: [B, V]
        self._point_cost, self._pixel_cost = UncertainPointCost(**self.student.mask_loss), AllPixelCost()
        vocabulary, width = self.student.embedding.weight.shape
        self._costs = torch.full((points + 1, self.size, vocabulary), torch.nan)
        self._slopes = torch.full((points + 1, self.size, vocabulary, width), torch.nan)
        self._look(self._costs, [row.nonzero()[:, 0].tolist() for row in self.log_p.exp() >= LEAST_P])

    def exact(self, cost: str) -> Tensor:
        """The gradient of the expected cost, [B, V], by enumeration; for ``points``, the mean over their draws."""
        part = slice(0, self.points) if cost == "points" else slice(self.points, None)
        return exact_gradient(self.log_p, self._costs[part].mean(0))

    def gradients(self, estimator: Any, draw: int) -> dict[str, Tensor]:
        """The estimator's gradient of each object, [B, V], with the costs ``points`` and ``pixels``."""
        step, free = self.step(estimator, draw)
        step.words = estimator.words(step)
        hard, found = self.is_hard(step.words), {}
        mask_logits = None if hard else self.model.reader(self.model, step, step.words, gradient=True).mask_logits
        for cost, number in (("points", draw % self.points), ("pixels", self.points)):
            if mask_logits is None:
                step.costs = {"loss_mask": self.looked_up(step, number, estimator.reads_with_gradient)}
            else:
                step.costs = {"loss_mask": self._cost(step, mask_logits, number)}
            losses = [loss for name, loss in estimator.losses(step).items() if "loss" in name]
            found[cost] = torch.zeros_like(free)
            if any(loss.requires_grad for loss in losses):
                total = self.size * torch.stack(losses).sum()  # losses are means over objects
                (gradient,) = torch.autograd.grad(total, free, retain_graph=True, allow_unused=True)
                found[cost] = found[cost] if gradient is None else gradient
        return found

    def step(self, estimator: Any, seed: int) -> tuple[CycleStep, Tensor]:
        """A step after step 3, and its logits [B, V] at the position, the only ones that take a gradient."""
        stop_ids = self.stop_ids if estimator.rates_stop else self.stop_ids[:0]
        ids = pad_sequence(self.captions.with_stop(self.captions.ids, stop_ids), batch_first=True)
        free = self.log_p.clone().requires_grad_()
        peaks = PEAK * F.one_hot(ids, self.log_p.shape[-1]).float()
        logits = peaks.index_put((self.rows, self.at), free)
        pictures = self.start.pictures1, self.start.pictures2
        step = CycleStep(self.batch, seed, estimator.readings, *pictures, stop_ids, self.model)
        step.captions, step.corrupted, step.logits = self.captions, self.captions.ids, logits
        step.teacher_logits = logits.detach()
        return step, free

    def is_hard(self, words: Words) -> bool:
        """Whether all words are words of the vocabulary, not mixtures."""
        return bool((words.weights.detach().amax(-1) == 1).all())

    def looked_up(self, step: CycleStep, number: int, gradient: bool) -> Tensor:
        """The costs [B * S] of hard words, with their slopes if asked for."""
        rows = self.rows.repeat_interleave(step.readings)
        at, words = self.at[rows], step.words
        here = torch.arange(len(rows)), at
        ids = words.ids[here]
        wanted: list[list[int]] = ids.unflatten(0, (-1, step.readings)).tolist()
        self._look(self._costs, wanted)
        costs = self._costs[number, rows, ids]
        if not gradient:
            return costs
        self._look(self._slopes, wanted)
        points = torch.einsum("nk,nkd->nd", words.weights[here], self.student.embedding(words.candidates[here]))
        return costs + (self._slopes[number, rows, ids] * (points - points.detach())).sum(-1)

    # -- readings --------------------------------------------------------------------------------------------------

    def read(self, points: Tensor, *, gradient: bool) -> Tensor:
        """Costs [M + 1, B * S] of the captions with embeddings [B * S, D] at the position, S for each object."""
        step = self._reading(len(points) // self.size)
        with torch.no_grad():
            embeds = embed_words(self.student, step.words)
        at = self.at.repeat_interleave(step.readings)
        embeds = embeds.index_put((torch.arange(len(points)), at), points)
        if gradient:
            masks = masks_from_text(self.student, step, embeds)
        else:
            with torch.no_grad():
                masks = masks_from_shared_heads(self.student, step, embeds, step.lengths.tolist())
        return torch.stack([self._cost(step, masks, number) for number in range(self.points + 1)])

    def slopes(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Costs [M + 1, B * S], and their gradients [M + 1, B * S, D] with respect to the embeddings [B * S, D]."""
        points = points.detach().requires_grad_()
        costs = self.read(points, gradient=True)
        slopes = [torch.autograd.grad(one.sum(), points, retain_graph=True)[0] for one in costs]
        return costs.detach(), torch.stack(slopes)

    def _reading(self, readings: int) -> CycleStep:
        """A step whose words are the captions, ``readings`` times each."""
        pictures = self.start.pictures1, self.start.pictures2
        step = CycleStep(self.batch, 0, readings, *pictures, self.stop_ids, self.model)
        ids = self.captions.padded.repeat_interleave(readings, 0)
        step.captions, step.words = self.captions, hard_words(ids, torch.zeros(ids.shape))
        return step

    def _cost(self, step: CycleStep, mask_logits: Tensor, number: int) -> Tensor:
        """[B * S] of cost number j."""
        step.mask_logits, seed = mask_logits, step.seed
        step.seed = number  # of the points; that of the words is the draw's
        costs = (self._point_cost if number < self.points else self._pixel_cost)(step)
        step.seed = seed
        return torch.stack(list(costs.values())).sum(0)

    def _look(self, table: Tensor, wanted: Sequence[Sequence[int]]) -> None:
        """Fills in what the table [M + 1, B, V, ...] does not know of the wanted words of each object."""
        known = table[0].isfinite().flatten(2).all(-1) if table is self._slopes else table[0].isfinite()
        missing = [sorted({word for word in words if not known[i, word]}) for i, words in enumerate(wanted)]
        if not (width := max(map(len, missing))):
            return
        # all objects have equally many readings: what is missing elsewhere is filled up with the likeliest word
        likeliest = self.log_p.argmax(-1).tolist()
        filled = [[*words, *[best] * width][:width] for words, best in zip(missing, likeliest, strict=True)]
        rows, ids = self.rows.repeat_interleave(width), torch.tensor(filled).flatten()
        with torch.no_grad():
            points = self.student.embedding(ids)
        if table is self._slopes:
            self._slopes[:, rows, ids] = self.slopes(points)[1]
        else:
            self._costs[:, rows, ids] = self.read(points, gradient=False)

"""Takes the figures of a model on a sample of objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pseudo_gumbel.diagnosis.figures import MATTERS, Figures, Observations, summarise
from pseudo_gumbel.diagnosis.objects import Object
from pseudo_gumbel.diagnosis.probe import Probe, moves, probe, rate_curve
from pseudo_gumbel.diagnosis.reading import Masks, mask_cost, measure, read
from pseudo_gumbel.diagnosis.sampling import sample_captions
from pseudo_gumbel.diagnosis.slopes import slopes
from pseudo_gumbel.diagnosis.swaps import Swap, choose_swap, swapped, whole_words
from sa2va_native.datasets.collate import collate_batch
from sa2va_native.models.evaluating import evaluating
from sa2va_native.models.losses import language_loss
from sa2va_native.models.pictures import Pictures
from sa2va_native.models.prompts import END
from sa2va_native.randomness.generators import generators
from sa2va_native.structures import Batch


@dataclass(frozen=True)
class Options:
    """How much is looked at."""

    rows: int = 32  #: captions that are read at once; memory grows with it
    candidates: int = 8  #: K words at a position
    min_p: float = 0.02  #: words below this share of the likeliest are not tried; word trials' own value
    samples: int = 4  #: sampled captions an object
    draws: int = 8  #: of Gumbel noise, for the slopes
    straight_through: float = 0.7  #: temperature
    soft: float = 2.0  #: temperature
    probe_steps: int = 20
    probe_objects: int = 32
    faster: tuple[float, ...] = (10.0, 30.0)  #: factors on the config's learning rate that are probed too


@dataclass
class _Better:
    """A caption that leads back better than the captioner's own, for the learning-rate probe."""

    one: Object
    ids: Tensor  #: [T]
    position: int  #: of the word that makes it better


class Diagnosis:
    """Looks at objects, group by group, and keeps what it saw.

    Args:
        model: PseudoGumbel, or a bare Sa2VA.
        options: see :class:`Options`.
    """

    def __init__(self, model: Any, options: Options) -> None:
        self.model, self.options = model, options
        self.student = getattr(model, "student", model)
        self.device = next(self.student.parameters()).device
        self.seen = Observations()
        self.better: list[_Better] = []
        self._caption_before: Tensor | None = None
        ids = torch.zeros(self.student.embedding.num_embeddings, dtype=torch.bool)
        ids[self.student.prompts.word_ids] = True
        self._no_words = ~ids.to(self.device)

    @torch.no_grad()
    def look(self, objects: Sequence[Object]) -> None:
        """Captions a group of objects, swaps words, and reads what comes of it."""
        with evaluating(self.student):
            group = _Group(self, objects)
            captions = [ids for ids, _ in self.student.caption(group.pictures1, group.batch.caption_side.region)]
            greedy = group.measure(range(len(objects)), captions)
            self.seen.greedy_iou += greedy.iou.tolist()
            self._read_captions_of_others(group, captions)
            self._read_sampled_captions(group)
            worded = [row for row, ids in enumerate(captions) if len(ids)]
            if worded:
                self._try_words(group, worded, [captions[row] for row in worded])
            if labelled := [row for row, one in enumerate(objects) if one.text]:
                self._read_human_texts(group, labelled, greedy)

    def _read_captions_of_others(self, group: _Group, captions: Sequence[Tensor]) -> None:
        before = [self._caption_before, *captions[:-1]]
        rows = [row for row, ids in enumerate(before) if ids is not None]
        self._caption_before = captions[-1]
        if rows:
            self.seen.floor_iou += group.measure(rows, [ids for ids in before if ids is not None]).iou.tolist()

    def _read_sampled_captions(self, group: _Group) -> None:
        count, keys = self.options.samples, group.batch.keys
        if count:
            ious = []
            for number in range(count):
                draws = generators(self.student.seed, keys, f"diagnosis {number}")
                sampled = sample_captions(self.student, group.pictures1, group.batch.caption_side.region, draws)
                ious.append(group.measure(range(len(keys)), sampled).iou)
            self.seen.sampled_iou += torch.stack(ious, 1).tolist()

    def _try_words(self, group: _Group, rows: Sequence[int], captions: Sequence[Tensor]) -> None:
        swap, log_p = self._swap(group, rows, captions, "diagnosis")
        tried = self._read_swaps(group, rows, captions, swap)
        seen, here = self.seen, torch.arange(len(rows))
        seen.costs += _without(tried.cost, swap.kept)
        seen.ious += _without(tried.iou, swap.kept)
        seen.empty += _without(tried.empty.float(), swap.kept)
        known = torch.tensor([len(group.objects[row].others) > 0 for row in rows], device=self.device)
        seen.astray += _without(tried.astray.float(), swap.kept & known[:, None])
        seen.log_p += swap.log_p.tolist()
        at = log_p[here, swap.positions.cpu()]
        seen.entropy += (-(at.exp() * at.clamp(min=-1e4)).sum(1)).tolist()
        self._compare_slopes(group, rows, captions, swap, tried.cost)
        costs = tried.cost.masked_fill(~swap.kept, torch.inf)
        for row, caption, position, cost, words in zip(rows, captions, swap.positions, costs, swap.words, strict=True):
            if cost[0] - cost.min() >= MATTERS:
                best = swapped(caption, int(position), words[cost.argmin()][None].cpu())[0]
                self.better.append(_Better(group.objects[row], best, int(position)))

    def _compare_slopes(
        self, group: _Group, rows: Sequence[int], captions: Sequence[Tensor], swap: Swap, costs: Tensor
    ) -> None:
        embed, rows_of = self.student.embedding, list(rows)
        limit = max(1, self.options.rows // 4)  # activations are kept for the way back
        for start in range(0, len(rows_of), limit):
            part = slice(start, start + limit)

            def cost_of(points: Tensor, part: slice = part) -> Tensor:
                words = []
                for caption, position, point in zip(captions[part], swap.positions[part], points, strict=True):
                    embeds = embed(caption.to(self.device)).clone()
                    embeds[position] = point.to(embeds.dtype)
                    words.append(embeds)
                return mask_cost(group.read(rows_of[part], words), group.masks[rows_of[part]])

            generator = torch.Generator().manual_seed(group.batch.keys[rows_of[start]].sample)
            found = slopes(
                cost_of,
                embed(swap.words[part]),
                swap.log_p[part],
                swap.kept[part],
                costs[part],
                generator,
                draws=self.options.draws,
                straight_through=self.options.straight_through,
                soft=self.options.soft,
            )
            for name, values in found._asdict().items():
                getattr(self.seen, name).extend(values.tolist())

    def _read_human_texts(self, group: _Group, rows: Sequence[int], greedy: Masks) -> None:
        texts = [torch.tensor(self.student.prompts.encode_human(str(group.objects[row].text))) for row in rows]
        swap, _ = self._swap(group, rows, texts, "diagnosis human")
        tried = self._read_swaps(group, rows, texts, swap)
        self.seen.human_iou += tried.iou[:, 0].tolist()
        self.seen.greedy_of_human_iou += greedy.iou[list(rows)].tolist()
        self.seen.human_costs += _without(tried.cost, swap.kept)
        self.seen.human_log_p += swap.log_p.tolist()

    def _swap(
        self, group: _Group, rows: Sequence[int], captions: Sequence[Tensor], purpose: str
    ) -> tuple[Swap, Tensor]:
        """Which words are tried in captions [T_i], and the captioner's log-probabilities [B, T, V] on the CPU."""
        options, keys = self.options, [group.batch.keys[row] for row in rows]
        log_p = self._log_p(group, rows, captions)
        ids = torch.nn.utils.rnn.pad_sequence(list(captions), batch_first=True).to(self.device)
        allowed = torch.zeros(ids.shape, dtype=torch.bool)
        for row, caption in enumerate(captions):
            allowed[row, : len(caption)] = torch.tensor(whole_words(caption.tolist(), self.student.prompts.decode))
        draws = generators(self.student.seed, keys, purpose)
        swap = choose_swap(log_p, ids, allowed.to(self.device), options.candidates, options.min_p, draws)
        return swap, log_p.cpu()

    def _log_p(self, group: _Group, rows: Sequence[int], captions: Sequence[Tensor]) -> Tensor:
        region = group.batch.caption_side.region[list(rows)]
        logits = self.student.caption_logits(group.pictures1.of(list(rows)), region, captions, captions)[0]
        return logits.float().masked_fill(self._no_words, -torch.inf).log_softmax(-1)

    def _read_swaps(self, group: _Group, rows: Sequence[int], captions: Sequence[Tensor], swap: Swap) -> Masks:
        """What each of the K words leads to, [B, K] each."""
        words = [
            ids
            for caption, position, words in zip(captions, swap.positions.tolist(), swap.words.cpu(), strict=True)
            for ids in swapped(caption, position, words)
        ]
        count = swap.words.shape[1]
        found = group.measure([row for row in rows for _ in range(count)], words)
        return Masks(*(one.unflatten(0, (-1, count)) for one in found))

    # -- the learning rate -------------------------------------------------------------------------------------

    def probe_rates(self, cfg: Any, track: Callable[[Sequence[float]], Iterable[float]] = iter) -> tuple[Probe, ...]:
        """The config's learning rate on the better captions that were found, then higher ones until one moves them.

        None if fewer than four better captions were found.

        Args:
            cfg: of the run; its steps, schedule, optimizer and batch size are used.
            track: shows the progress of the rates that are tried.
        """
        better = self.better[: self.options.probe_objects]
        if len(better) < 4:
            return ()
        run_steps = cfg.train_cfg.max_steps
        micro = max(1, min(cfg.train_dataloader.get("batch_size", 1), self.options.rows))
        parts = [_Captions(self, better[start : start + micro]) for start in range(0, len(better), micro)]

        def log_probability() -> float:
            return float(torch.cat([part.log_p_of_words() for part in parts]).mean())

        schedule = cfg.get("param_scheduler") or []
        curve = rate_curve([schedule] if isinstance(schedule, dict) else schedule, run_steps)
        lr = float(cfg.optim_wrapper["optimizer"]["lr"])
        steps = min(self.options.probe_steps, run_steps)
        losses = [part.loss for part in parts]
        probes: list[Probe] = []
        for factor in track((1.0, *self.options.faster)):
            if not any(moves(one, run_steps) for one in probes):
                probes.append(probe(self.model, cfg.optim_wrapper, curve, lr * factor, losses, log_probability, steps))
        return tuple(probes)

    def figures(self, run_steps: int, probes: tuple[Probe, ...] = ()) -> Figures:
        """Everything seen so far, summed up."""
        return summarise(self.seen, run_steps, probes)


class _Group:
    """A few objects whose pictures are encoded once."""

    def __init__(self, diagnosis: Diagnosis, objects: Sequence[Object]) -> None:
        self.diagnosis, self.objects = diagnosis, objects
        self.batch = _batch(objects, diagnosis.device)
        student, side2 = diagnosis.student, self.batch.mask_side
        self.pictures1: Pictures = student.encode_pictures(self.batch.caption_side, grounding=side2 is None)
        self.pictures2 = self.pictures1 if side2 is None else student.encode_pictures(side2)
        self.masks = (side2 or self.batch.caption_side).mask

    def read(self, rows: Sequence[int], words: Sequence[Tensor]) -> Tensor:
        """See :func:`pseudo_gumbel.diagnosis.reading.read`."""
        return read(self.diagnosis.student, self.pictures2, self.batch.keys, rows, words)

    def measure(self, rows: Sequence[int], captions: Sequence[Tensor]) -> Masks:
        """What captions, as hard words, lead to; ``rows`` says of which object."""
        rows, limit, found = list(rows), self.diagnosis.options.rows, []
        embed, device = self.diagnosis.student.embedding, self.diagnosis.device
        for start in range(0, len(rows), limit):
            part = rows[start : start + limit]
            mask_logits = self.read(part, [embed(ids.to(device)) for ids in captions[start : start + limit]])
            found.append(measure(mask_logits, self.masks[part], [self.objects[row].others for row in part]))
        return Masks(*(torch.cat(column) for column in zip(*found, strict=True)))


class _Captions:
    """A micro-batch of better captions, to be trained on; pictures are encoded once."""

    def __init__(self, diagnosis: Diagnosis, better: Sequence[_Better]) -> None:
        self.student = diagnosis.student
        self.region = (batch := _batch([one.one for one in better], diagnosis.device)).caption_side.region
        self.pictures = self.student.encode_pictures(batch.caption_side, grounding=False)
        self.rows = torch.arange(len(better), device=diagnosis.device)
        self.positions = torch.tensor([one.position for one in better], device=diagnosis.device)
        end = torch.tensor(self.student.prompts.encode(END))
        self.captions = [torch.cat([one.ids, end]) for one in better]

    def loss(self) -> Tensor:
        """Language loss of the captions, stop word included."""
        return language_loss(*self._logits())

    @torch.no_grad()
    def log_p_of_words(self) -> Tensor:
        """[B] log-probability of the word that makes each caption better, over the whole vocabulary."""
        logits, labels = self._logits()
        log_p = logits.float().log_softmax(-1)[self.rows, self.positions]
        return log_p.gather(1, labels[self.rows, self.positions][:, None])[:, 0]

    def _logits(self) -> tuple[Tensor, Tensor]:
        return self.student.caption_logits(self.pictures, self.region, self.captions, self.captions)


def _batch(objects: Sequence[Object], device: torch.device) -> Batch:
    batch = collate_batch([one.item._replace(kind="cycle") for one in objects])["batch"]

    def moved(side: Any) -> Any:
        return side and type(side)(*(tensor.to(device) for tensor in side))

    return batch._replace(caption_side=moved(batch.caption_side), mask_side=moved(batch.mask_side))


def _without(values: Tensor, kept: Tensor) -> list[list[float]]:
    return values.float().masked_fill(~kept, torch.nan).tolist()

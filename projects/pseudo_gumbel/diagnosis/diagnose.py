"""Takes the figures of a model on a sample of objects, by the steps that training takes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pseudo_gumbel.costs.iou import iou
from pseudo_gumbel.diagnosis.figures import MATTERS, Figures, Observations, summarise
from pseudo_gumbel.diagnosis.probe import Better, Probe, probe_rates
from pseudo_gumbel.diagnosis.readings import OwnWordTrials, mixtures, reading, single_tokens, text_words
from pseudo_gumbel.diagnosis.slopes import slopes
from pseudo_gumbel.escape import draws_elsewhere, draws_nothing
from pseudo_gumbel.estimators.score_function import sample_words
from pseudo_gumbel.estimators.trials import log_softmax
from pseudo_gumbel.model import PseudoGumbel
from pseudo_gumbel.step import Captions, CycleStep
from sa2va_native.datasets.collate import collate_batch
from sa2va_native.datasets.mixture import Item
from sa2va_native.models.evaluating import evaluating


@dataclass(frozen=True)
class Options:
    """How much is looked at."""

    samples: int = 4  #: sampled captions an object; 0 for none
    draws: int = 8  #: of Gumbel noise, for the slopes
    straight_through: float = 0.7  #: temperature
    soft: float = 2.0  #: temperature
    probe_steps: int = 20  #: 0 for no probe of learning rates
    probe_objects: int = 32
    faster: tuple[float, ...] = (10.0, 30.0)  #: factors on the config's learning rate that are probed too


class Diagnosis:
    """Looks at objects, batch by batch, and keeps what it saw.

    Args:
        model: built from :func:`pseudo_gumbel.diagnosis.readings.in_place_of_own`.
        options: see :class:`Options`.
    """

    def __init__(self, model: PseudoGumbel, options: Options) -> None:
        assert isinstance(model.estimator, OwnWordTrials)
        self.model, self.trials, self.options = model, model.estimator, options
        self.seen = Observations()
        self.better: list[Better] = []
        self._caption_before: Tensor | None = None

    @torch.no_grad()
    def look(self, items: Sequence[Item]) -> None:
        """Captions objects, swaps words, and reads what comes of it; all of them have a text, or none."""
        model = self.model
        with evaluating(model):
            step = model.begin(model.data_preprocessor(collate_batch(items))["batch"])
            human = copy.copy(step)
            step.captions = model.teacher_captions(step.pictures1, step.side1.region)
            tried = self._try_words(step)
            greedy = self._by_word(iou(tried.mask_logits, tried.masks))[:, 0]
            self.seen.greedy_iou += greedy.tolist()
            self._read_captions_of_others(step)
            self._read_sampled_captions(step)
            if step.spoken.any():
                self._note_words(tried)
                self._compare_slopes(step, tried)
                self._note_better_captions(items, tried)
            if items[0].text is not None:
                self.seen.greedy_of_human_iou += greedy.tolist()
                self._read_human_texts(human)

    # -- what is read ------------------------------------------------------------------------------------------

    def _try_words(self, step: CycleStep) -> CycleStep:
        """Steps 2 to 6 of word trials; nothing is corrupted, and student and teacher are the same."""
        step.corrupted, step.logits = step.captions.ids, step.teacher_logits
        return reading(self.model, step, self.trials.words(step))

    def _read_captions_of_others(self, step: CycleStep) -> None:
        before = [self._caption_before, *step.captions.ids[:-1]]
        self._caption_before = step.captions.ids[-1]
        known = [ids for ids in before if ids is not None]
        texts = [step.captions.ids[0]] * (len(before) - len(known)) + known
        read = reading(self.model, step, text_words(texts, step.logits.device))
        self.seen.floor_iou += iou(read.mask_logits, read.masks).tolist()[-len(known) :] if known else []

    def _read_sampled_captions(self, step: CycleStep) -> None:
        if not self.options.samples:
            return
        sampled = sample_words(step.word_logits, self.options.samples, step.generators("sample"))
        texts = [
            ids[:length].cpu()
            for rows, length in zip(sampled.transpose(1, 2), step.captions.lengths.tolist(), strict=True)
            for ids in rows
        ]
        read = reading(self.model, step, text_words(texts, step.logits.device))
        self.seen.sampled_iou += iou(read.mask_logits, read.masks).unflatten(0, (-1, self.options.samples)).tolist()

    def _read_human_texts(self, step: CycleStep) -> None:
        texts = [torch.tensor(self.model.student.prompts.encode_human(str(text))).long() for text in step.batch.text]
        step.captions = Captions(texts, [True] * len(texts))
        tried = self._try_words(step)
        self.seen.human_iou += self._by_word(iou(tried.mask_logits, tried.masks))[:, 0].tolist()
        self.seen.human_costs += self._known(tried, tried.cost)
        self.seen.human_log_p += self.trials.shares(tried).tolist()

    # -- what is noted, of captions with a word ----------------------------------------------------------------

    def _note_words(self, tried: CycleStep) -> None:
        seen, spoken = self.seen, tried.spoken.bool()
        seen.costs += self._known(tried, tried.cost, spoken)
        seen.ious += self._known(tried, iou(tried.mask_logits, tried.masks), spoken)
        seen.empty += self._known(tried, draws_nothing(tried.mask_logits).float(), spoken)
        seen.elsewhere += self._known(tried, draws_elsewhere(tried.mask_logits, tried.masks).float(), spoken)
        seen.log_p += self.trials.shares(tried)[spoken].tolist()
        log_p = log_softmax(tried.teacher_logits)
        entropy = -torch.xlogy(log_p.exp(), log_p.exp()).sum(-1)
        seen.entropy += entropy.gather(1, self.trials.trial(tried).positions)[spoken, 0].tolist()

    def _compare_slopes(self, step: CycleStep, tried: CycleStep) -> None:
        if not self.model.word_pieces.are_words:  # estimators of the Gumbel family sum over tokens
            tokens = single_tokens(step)
            tried = reading(self.model, tokens, self.trials.words(tokens))
        trial, ids = self.trials.trial(tried), step.captions.padded.to(step.logits.device)

        def cost_of(weights: Tensor) -> Tensor:
            words = mixtures(ids, trial.positions[:, 0], trial.candidates[:, 0], weights)
            return reading(self.model, step, words, gradient=True).cost.unflatten(0, weights.shape[:2])

        options, log_p = self.options, self.trials.shares(tried)
        found = slopes(
            cost_of,
            log_p,
            self._by_word(tried.cost),
            step.generators("gumbel"),
            draws=options.draws,
            straight_through=options.straight_through,
            soft=options.soft,
        )
        for name, values in found._asdict().items():
            getattr(self.seen, name).extend(values[step.spoken.bool()].tolist())

    def _note_better_captions(self, items: Sequence[Item], tried: CycleStep) -> None:
        trial = self.trials.trial(tried)
        texts = trial.rows(tried.captions.ids)
        costs = self._by_word(tried.cost).masked_fill(self.trials.shares(tried) == -torch.inf, torch.inf)
        gains = (costs[:, 0] - costs.amin(1)) * tried.spoken
        for i, (gain, best) in enumerate(zip(gains.tolist(), costs.argmin(1).tolist(), strict=True)):
            if gain >= MATTERS:
                text = texts[i * self.trials.candidates + best]
                self.better.append(Better(items[i], text, int(trial.positions[i, 0])))

    def _known(self, tried: CycleStep, values: Tensor, rows: Tensor | slice = slice(None)) -> list[list[float]]:
        """Values [N] of the trials by word, nan for words that do not count."""
        counts = self.trials.shares(tried) > -torch.inf
        return torch.where(counts, self._by_word(values), torch.nan)[rows].tolist()

    def _by_word(self, values: Tensor) -> Tensor:
        """[N] -> [B, K]."""
        return values.unflatten(0, (-1, self.trials.candidates))

    # -- what comes of it --------------------------------------------------------------------------------------

    def figures(self, cfg: Any, track: Callable[[Sequence[float]], Iterable[float]] = iter) -> Figures:
        """Everything seen so far, summed up, and what the config's learning rate does to the better captions."""
        options = self.options
        better = self.better[: options.probe_objects if options.probe_steps else 0]
        steps, factors = options.probe_steps, options.faster
        probes: tuple[Probe, ...] = probe_rates(self.model, better, cfg, steps=steps, factors=factors, track=track)
        return summarise(self.seen, cfg.train_cfg.max_steps, probes)

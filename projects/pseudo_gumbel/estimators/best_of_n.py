"""Best-of-N distillation: of several captions, the student learns to say the one that costs least."""

from __future__ import annotations

import torch
from torch import Tensor

from pseudo_gumbel.estimators.estimator import Estimator
from pseudo_gumbel.estimators.score_function import sample_words
from pseudo_gumbel.gumbel import Words, hard_words, log_probabilities
from pseudo_gumbel.registry import ESTIMATORS
from pseudo_gumbel.step import CycleStep
from sa2va_native.errors import ConfigError
from sa2va_native.models.losses import language_loss
from sa2va_native.models.prompts import NO_LABEL


@ESTIMATORS.register_module()
class BestOfN(Estimator):
    """Language loss on the cheapest of the teacher's caption and N - 1 captions that the student draws.

    The stop word, where the teacher's caption has one, is learnt along with it. At equal costs the teacher's caption is
    kept. Reward-ranked fine-tuning (Dong et al., arXiv:2304.06767) with one label per region and step.

    It does not follow the gradient of the expected cost. The label is the best of a finite number of draws, so it
    becomes sharper with N whatever the costs differ by; a word that the student never draws is never learnt; all words
    of the best caption are learnt, those that have no part in its cost too; and words are drawn at each position from
    the logits after the teacher's corrupted words, not after the words drawn before.

    Args:
        samples: N captions per region, >= 2; each is one reading.

    Raises:
        ConfigError: too few captions to choose from.
    """

    reads_with_gradient = False
    rates_stop = True  # a caption's end is language too, and would be lost first

    def __init__(self, samples: int = 4) -> None:
        if samples < 2:
            raise ConfigError(f"estimator.samples={samples}: the best is one of 2 captions or more")
        self.readings = samples

    def words(self, step: CycleStep) -> Words:
        logits = step.word_logits
        teacher = step.captions.padded[:, : logits.shape[1], None].to(logits.device)
        drawn = sample_words(logits, self.readings - 1, step.generators("sample"))
        ids = torch.cat([teacher, drawn], -1)
        log_probs = log_probabilities(logits, ids)
        return hard_words(*(one.transpose(1, 2).flatten(0, 1) for one in (ids, log_probs)))

    def losses(self, step: CycleStep) -> dict[str, Tensor]:
        costs = step.cost.detach().unflatten(0, (-1, self.readings))
        best = costs.argmin(1)  # the first of equal ones
        cheapest = costs.gather(1, best[:, None])[:, 0]
        return {
            "loss_best": language_loss(step.logits, self.labels(step, best)),
            "mask_cost": (step.spoken * costs.mean(1)).mean(),
            "best_cost": (step.spoken * cheapest).mean(),
            "teacher_best": (step.spoken * (best == 0)).mean(),
        }

    def labels(self, step: CycleStep, best: Tensor) -> Tensor:
        """The caption number ``best`` [B] of each sample with its stop word, [B, T + E]; an empty one has no label."""
        ids = step.words.ids.unflatten(0, (-1, self.readings))
        labels = torch.full(step.logits.shape[:2], NO_LABEL)
        for sample, (row, length) in enumerate(zip(best.tolist(), step.captions.lengths.tolist(), strict=True)):
            labels[sample, :length] = ids[sample, row, :length].cpu()
            if length and step.captions.stopped[sample]:
                labels[sample, length : length + len(step.stop_ids)] = step.stop_ids
        return labels.to(step.logits.device)

"""A cost that asks whether the mask is the right object of its picture, not how well it is drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from pseudo_gumbel.costs.cost import Cost
from pseudo_gumbel.costs.iou import soft_iou
from pseudo_gumbel.registry import COSTS
from pseudo_gumbel.step import CycleStep
from sa2va_native.errors import ConfigError

#: What a mask that meets no object scores for leading nowhere. Above 1, so that nothing is worse than a wrong object.
NOWHERE = 1.1


def contrast(scores: Tensor, temperature: float) -> Tensor:
    """-log softmax of the first score over all scores [N, 1 + M] and that of nothing, divided by the temperature; [N].

    Scores are soft IoUs, 0..1, and -inf where there is no object. That of nothing is ``NOWHERE`` (1 - the best of
    them), so that an empty mask costs most.
    """
    nothing = NOWHERE * (1 - scores.amax(1, keepdim=True))
    return -(torch.cat([scores, nothing], 1) / temperature).log_softmax(1)[:, 0]


@COSTS.register_module()
class InPictureContrast(Cost):
    """-log softmax, over the objects of the picture, of the mask's soft IoU with each: the true object's share.

    The picture's other objects are the wrong answers, as in maximum mutual information training of expressions (Mao et
    al., arXiv:1511.02283). A mask that meets no object costs most, ``1.1 / temperature`` nats; a wrong object a little
    less; the true one about 0.

    Needs ``train_dataloader.dataset.with_others=True``.

    Args:
        temperature: > 0, in units of IoU; small asks for the best object alone. It also sets the cost's scale:
            ``beta`` of word trials should be in proportion to 1 / temperature.

    Raises:
        ConfigError: a temperature that is not positive; at the first step, if the data do not give the other objects.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        if temperature <= 0:
            raise ConfigError(f"cost.temperature={temperature}: must be positive; 0.1 is a tenth of the largest IoU")
        self.temperature = temperature

    def __call__(self, step: CycleStep) -> dict[str, Tensor]:
        if step.others is None:
            raise ConfigError(
                f"model.cost=InPictureContrast, but the samples ({step.batch.sample_ids[0]}, ...) come without the "
                "picture's other objects: set train_dataloader.dataset.with_others=True"
            )
        masks = step.mask_logits.float().sigmoid()
        # object by object: all at once would take M times the memory of the masks
        objects = [step.masks, *(step.per_reading(one) for one in step.others.unbind(1))]
        scores = torch.stack([soft_iou(masks, one.float()) for one in objects], 1)
        exists = torch.stack([one.flatten(1).any(1) for one in objects], 1)
        return {"loss_contrast": contrast(scores.masked_fill(~exists, -torch.inf), self.temperature)}

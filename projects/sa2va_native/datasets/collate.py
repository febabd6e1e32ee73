"""From transformed samples to a ``Batch``."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from mmengine.registry import FUNCTIONS
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import default_collate

from sa2va_native.datasets.mixture import Item
from sa2va_native.errors import DataError
from sa2va_native.structures import Batch, Side


@FUNCTIONS.register_module()
def collate_batch(items: Sequence[Item]) -> dict[str, Batch]:
    """Stack the samples of one kind.

    If only some samples have a second frame, the caption side of the others also serves as their mask side.

    Returns:
        ``{"batch": Batch}``, the keyword arguments of the model's ``forward``.

    Raises:
        DataError: samples of several kinds.
    """
    kinds = sorted({item.kind for item in items})
    if len(kinds) > 1:
        raise DataError(
            f"one batch holds kinds {', '.join(kinds)}. Train with MixtureBatchSampler; evaluate one kind at a time."
        )
    if kinds == ["clip"] and len(items) > 1:
        raise DataError(f"one batch holds {len(items)} clips, which differ in length. Evaluate one at a time.")
    sides = [item.sides for item in items]
    two_frames = any(pair.mask_side is not None for pair in sides)
    mask_sides = [pair.side2 for pair in sides]
    batch = Batch(
        kind=items[0].kind,
        caption_side=sides[0].caption_side if kinds == ["clip"] else _stack([pair.caption_side for pair in sides]),
        mask_side=_stack(mask_sides) if two_frames else None,
        text=[item.text for item in items],
        keys=[item.key for item in items],
        sample_ids=[item.sample_id for item in items],
        attributes=[item.attributes for item in items],
        sources=[item.source for item in items],
        gt_masks=[item.gt_mask for item in items if item.gt_mask is not None],
        others=_padded([item.others for item in items if item.others is not None]),
        looks=_numbered([item.look for item in items]),
    )
    return {"batch": batch}


def _stack(sides: Sequence[Side]) -> Side:
    # torch's own function: it stacks into memory that a worker shares with the main process
    return Side(*(default_collate(list(tensors)) for tensors in zip(*sides, strict=True)))


def _numbered(looks: Sequence[Hashable]) -> list[int] | None:
    """One number for each different look, and for each unknown one; None if all are unknown."""
    if all(look is None for look in looks):
        return None
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(("row", row) if look is None else look, len(numbers)) for row, look in enumerate(looks)]


def _padded(masks: Sequence[Tensor]) -> Tensor | None:
    """[M_i, h, w] each -> [B, M, h, w]; None without any."""
    return pad_sequence(list(masks), batch_first=True) if masks else None

"""The tiny model and batches for it: the real classes with the shipped weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from pseudo_gumbel.step import Captions, CycleStep
from sa2va_native.files.paths import ROOT
from sa2va_native.models.pictures import Pictures
from sa2va_native.models.word_pieces import WordPieces
from sa2va_native.structures import Batch, DrawKey, Kind, Side


def tiny_sa2va(**overrides: Any):
    """Sa2VA as ``configs/sa2va_tiny.py`` builds it."""
    config = Config.fromfile(ROOT / "configs/_base_/models/sa2va_tiny.py").model
    config.update(overrides)
    return MODELS.build(config)


#: What makes InternVL3.5 of the tiny model: Qwen3, whose heads are wider together than the hidden states.
QWEN3 = dict(model_type="qwen3", head_dim=48)


def tiny_qwen3(**overrides: Any):
    """The tiny Sa2VA with a Qwen3 language model of random weights."""
    config = Config.fromfile(ROOT / "configs/_base_/models/sa2va_tiny.py").model
    config.update(weights=None, **overrides)
    config.mllm.text_config.update(QWEN3)
    torch.manual_seed(0)
    return MODELS.build(config)


def tiny_pseudo_gumbel(config: str = "pseudo_gumbel_tiny", sa2va: dict[str, Any] | None = None, **overrides: Any):
    """The method's model as a config of ``configs/`` builds it."""
    model = Config.fromfile(ROOT / f"configs/{config}.py").model
    for name, value in overrides.items():
        model[name] = value  # whole, as in a config; ``update`` would mix the options of two classes
    model.sa2va.update(sa2va or {})
    return MODELS.build(model)


def tiny_side(batch: int, seed: int = 0) -> Side:
    """Noise pictures with one rectangle each; each region has another number of cells, so prompts differ in length."""
    draw = torch.Generator().manual_seed(seed)
    region = torch.zeros(batch, 8, 8, dtype=torch.bool)
    mask = torch.zeros(batch, 32, 32)
    pictures = (120 + 55 * torch.randn(batch, 3, 128, 128, generator=draw)).clamp(0, 255).byte()
    for i in range(batch):
        top, width = (2 * i + seed) % 5, 1 + (i + seed) % 3
        region[i, top : top + 2, 2 : 2 + width] = True
        mask[i, 4 * top : 4 * top + 8, 8 : 8 + 4 * width] = 1
        pictures[i, 0, 16 * top : 16 * top + 32, 32 : 32 + 16 * width] = 230
    return Side(pictures, pictures.clone(), region, mask)


def tiny_batch(kind: Kind = "cycle", batch: int = 2, two_frames: bool = False, seed: int = 0) -> Batch:
    """A batch of any kind."""
    texts = ["the small red circle", "the large striped blue square left of the green star"] * batch
    return Batch(
        kind=kind,
        caption_side=tiny_side(batch, seed),
        mask_side=tiny_side(batch, seed + 1) if two_frames else None,
        text=texts[:batch],
        keys=[DrawKey(7, i) for i in range(batch)],
        sample_ids=[f"sample {i}" for i in range(batch)],
        attributes=[{} for _ in range(batch)],
        sources=[""] * batch,
        gt_masks=[],
    )


def cycle_step(
    logits: torch.Tensor, captions: Captions, stop_ids: Sequence[int] = (), readings: int = 1, **fields: Any
) -> CycleStep:
    """A step after step 3, without pictures; ``fields`` are those of later steps, or the teacher's logits."""
    batch = tiny_batch("cycle", len(captions.ids))
    nothing = Pictures(torch.empty(0), ())
    further = _Known(fields.pop("teacher_logits", None), fields.pop("base_logits", None), logits.shape[-1])
    stop = torch.tensor(stop_ids).long()
    step = CycleStep(batch, 0, readings, nothing, nothing, stop, further)
    step.captions, step.corrupted, step.logits = captions, captions.ids, logits
    for name, value in fields.items():
        setattr(step, name, value)
    return step


class _Known:
    """Logits that are given, of a vocabulary in which every token is a word."""

    def __init__(self, teacher: torch.Tensor | None, base: torch.Tensor | None, vocabulary: int) -> None:
        self.teacher, self.base = teacher, base
        words = torch.ones(vocabulary, dtype=torch.bool)
        self.word_pieces = WordPieces(words, ~words, ~words)

    def teacher_logits(self, step: CycleStep) -> Any:
        return self.teacher

    def base_logits(self, step: CycleStep) -> Any:
        return self.base

    def teacher_words(self, *_: Any) -> Any:
        raise AssertionError("every token is a word")

    def reread(self, *_: Any) -> Any:
        raise AssertionError("a step without pictures cannot be read")


def part_of(batch: Batch, rows: slice) -> Batch:
    """Some samples of a batch, as another rank would hold them."""

    def cut(side: Side | None) -> Side | None:
        return side and Side(*(tensor[rows] for tensor in side))

    return Batch(batch.kind, cut(batch.caption_side), cut(batch.mask_side), *(entry[rows] for entry in batch[3:9]))

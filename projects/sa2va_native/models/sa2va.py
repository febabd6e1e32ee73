"""Sa2VA: a multimodal language model reads and writes, SAM 2 draws, ``[SEG]`` joins them (arXiv:2501.04001).

Its tasks are here, the pieces that they are made of in :mod:`sa2va_native.models.joined`. Shapes: see
:mod:`sa2va_native.structures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor

from sa2va_native.errors import ConfigError
from sa2va_native.models import prompts as P
from sa2va_native.models.decoding import Decoding, growing
from sa2va_native.models.joined import JoinedModel
from sa2va_native.models.losses import language_loss, mask_losses
from sa2va_native.models.normalisation import normalise
from sa2va_native.models.pictures import Pictures, picture_ids
from sa2va_native.models.protocols import MaskPrediction
from sa2va_native.randomness.generators import choose, generator, generators
from sa2va_native.structures import Batch, DrawKey

#: Frames of a clip that the language model sees, as in Sa2VA.
SHOWN_FRAMES = 5


@MODELS.register_module()
class Sa2VA(JoinedModel):
    """Referring segmentation and region captioning in one model. For its arguments see :class:`JoinedModel`."""

    # -- losses ------------------------------------------------------------------------------------------------

    def forward(self, batch: Batch, mode: Literal["loss", "predict", "tensor"] = "tensor") -> Any:
        """MMEngine's entry: ``loss`` -> dict of losses, ``predict`` -> list of results, ``tensor`` -> mask logits."""
        if mode == "loss":
            return self.loss(batch)
        if mode == "predict":
            return self.predict(batch)
        if mode == "tensor":
            return self.refer(batch)[0].mask_logits
        raise ConfigError(f"mode {mode!r} is not one of loss, predict, tensor")

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Supervised losses: a human expression -> its mask, or a region -> its human caption."""
        if batch.kind == "caption":
            return {"loss_lm": self.caption_loss(batch)}
        prediction, loss_lm = self.refer(batch)
        side = batch.side2
        points = generators(self.seed, batch.keys, "points")
        return {**mask_losses(prediction.mask_logits, side.mask, points, **self.mask_loss), "loss_lm": loss_lm}

    def refer(self, batch: Batch) -> tuple[MaskPrediction, Tensor]:
        """Expression -> mask with the answer given (teacher forcing), and the language loss on that answer."""
        pictures = self.encode_pictures(batch.side2)
        asked, answers = [], []
        for text, key in zip(batch.text, batch.keys, strict=True):
            question, answer = self.choose_wording(key)
            asked.append(self.prompts.ask_segment(text or "", question))
            answers.append(self.prompts.answer_segment(answer))
        rows = [torch.cat([q, a]) for q, a in zip(asked, answers, strict=True)]
        embedded = self.prompts.embed(self.embedding, rows, self.visual_tokens(pictures.vision))
        hidden = self.hidden_states(embedded)
        logits, labels = self.next_token_logits(hidden[:, :-1], answers)
        return self.mask_from(hidden, embedded.ids, pictures), language_loss(logits, labels)

    def choose_wording(self, key: DrawKey) -> tuple[str, str]:
        """Question and answer template of a sample."""
        wording = generator(self.seed, key, "wording")
        return choose(P.SEGMENT_QUESTIONS, wording), choose(P.SEGMENT_ANSWERS, wording)

    def caption_loss(self, batch: Batch) -> Tensor:
        """Language loss of human captions, given the region."""
        captions = [self.prompts.answer_caption(text or "") for text in batch.text]
        pictures = self.encode_pictures(batch.caption_side, grounding=False)
        logits, labels = self.caption_logits(pictures, batch.caption_side.region, captions, captions)
        return language_loss(logits, labels)

    def caption_prompts(self, region: Tensor) -> list[Tensor]:
        """One prompt per region [B, g, g]; its slots are counted from the same cells that fill them."""
        return [self.prompts.ask_caption(int(cells)) for cells in region.sum((1, 2))]

    def caption_logits(
        self, pictures: Pictures, region: Tensor, fed: Sequence[Tensor], targets: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Logits [B, T, V] at the caption positions, teacher-forced on ``fed``, and labels [B, T] from ``targets``."""
        rows = [torch.cat([q, ids[:-1]]) for q, ids in zip(self.caption_prompts(region), fed, strict=True)]
        tokens = self.visual_tokens(pictures.vision, region, pictures.shown)
        embedded = self.prompts.embed(self.embedding, rows, tokens)
        return self.next_token_logits(self.hidden_states(embedded), targets)

    # -- inference ---------------------------------------------------------------------------------------------

    def caption(self, pictures: Pictures, region: Tensor, decoding: Decoding = growing) -> list[tuple[Tensor, bool]]:
        """Greedy captions of regions [B, g, g]: B pairs of ids [T_i] and "did it stop".

        Captions hold words only: a visual slot or a ``[SEG]`` inside would break the prompts that they become part of.
        """
        tokens = self.visual_tokens(pictures.vision, region, pictures.shown)
        no_words = [i for i in self.prompts.special_ids if i not in (self.tokenizer.eos_token_id, self.prompts.pad_id)]
        asked = self.prompts.embed(self.embedding, self.caption_prompts(region), tokens)
        return self.generate(asked, no_words, decoding)

    @torch.no_grad()
    def answer_prompts(self, asked: Sequence[Tensor], tokens: Sequence[Tensor]) -> list[Tensor | None]:
        """Prompts [C] for SAM 2 from generated answers to ``asked``; None if one does not hold exactly one ``[SEG]``.

        ``tokens`` are the visual tokens [n_i, D] of each question.
        """
        no_slots = [self.prompts.image_id]
        answers = [ids for ids, _ in self.generate(self.prompts.embed(self.embedding, asked, tokens), no_slots)]
        found = [i for i, ids in enumerate(answers) if int((ids == self.prompts.seg_id).sum()) == 1]
        prompts: list[Tensor | None] = [None] * len(answers)
        if found:
            rows = [torch.cat([asked[i], answers[i]]) for i in found]
            embedded = self.prompts.embed(self.embedding, rows, [tokens[i] for i in found])
            for i, prompt in zip(found, self.seg_prompts(self.hidden_states(embedded), embedded.ids), strict=True):
                prompts[i] = prompt
        return prompts

    @torch.no_grad()
    def segment(self, pictures: Pictures, expressions: Sequence[str | Tensor]) -> list[Tensor | None]:
        """Masks [h, w] (logits) for expressions: generates the answer; None without exactly one ``[SEG]`` in it."""
        asked = [self.prompts.ask_segment(expression) for expression in expressions]
        prompts = self.answer_prompts(asked, self.visual_tokens(pictures.vision, shown=pictures.shown))
        masks: list[Tensor | None] = [None] * len(prompts)
        if given := {i: prompt for i, prompt in enumerate(prompts) if prompt is not None}:
            drawn = self.drawn(pictures.of(list(given)), torch.stack(list(given.values())))
            for i, mask in zip(given, drawn.mask_logits, strict=True):
                masks[i] = mask
        return masks

    @torch.no_grad()
    def segment_clip(self, shown: Tensor, frames: Sequence[Tensor], expression: str) -> Tensor | None:
        """Masks [F, h, w] (logits) of an object through a clip.

        The language model sees the first frames and answers once; its ``[SEG]`` prompts SAM 2 on these frames, and
        SAM 2's memory carries the object through the others, as in Sa2VA.

        Args:
            shown: uint8 [P, 3, S, S], the first P <= F frames for the ViT; Sa2VA shows 5.
            frames: F frames, uint8 [3, G, G], for SAM 2.
            expression: what to segment.

        Returns:
            None if the answer does not hold exactly one ``[SEG]``.
        """
        tokens = torch.cat(self.visual_tokens(self.mllm.encode(normalise(shown).to(self.dtype))))
        asked = self.prompts.ask_segment(expression, pictures=len(shown))
        (prompt,) = self.answer_prompts([asked], [tokens])
        if prompt is None:
            return None
        return self.grounding.track(
            [normalise(frame).to(self.dtype) for frame in frames], dict.fromkeys(range(len(shown)), prompt)
        )

    def follow_clip(self, frames: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Masks [F, h, w] (logits) of an object through a clip, from its mask, bool [H, W], in the first frame.

        Args:
            frames: F frames, uint8 [3, G, G].
            mask: of the object; it is not empty.
        """
        return self.grounding.follow([normalise(frame).to(self.dtype) for frame in frames], mask.to(frames[0].device))

    @torch.no_grad()
    def predict(self, batch: Batch) -> list[dict[str, Any]]:
        """Results of a batch, one dict per sample.

        ``refer``: ``pred_mask`` from the human expression. ``cycle`` and ``caption``: a greedy ``caption`` of the
        region; ``cycle`` also ``cycle_mask``, the mask that this caption, as text, leads back to. Masks are bool at the
        size of the ground truth. None if the model gave none, e.g. for a region [g, g] without a cell; an empty caption
        leads nowhere. ``stopped``: whether the caption ended with a stop word, not at the length limit; None without a
        caption. ``clip``: ``pred_mask``, bool (F, H, W), from the human expression; without one, from the object's mask
        in the first frame. ``picture_id`` is the same for all samples of a picture (of a clip, its first), and for no
        other one; ``item`` is its position in the data set.
        """
        side2, shown = batch.side2, batch.caption_side.pixel_values
        results: list[dict[str, Any]] = [
            dict(
                kind=batch.kind, source=source, sample_id=sample_id, picture_id=picture_id, attributes=attributes,
                text=text, gt_mask=gt_mask, caption=None, stopped=None, pred_mask=None, cycle_mask=None,
                item=key.sample,
            )
            for source, sample_id, picture_id, attributes, text, gt_mask, key in zip(
                batch.sources, batch.sample_ids, picture_ids(shown[: len(batch.text)]), batch.attributes, batch.text,
                batch.gt_masks, batch.keys, strict=True
            )
        ]  # fmt: skip
        if batch.kind == "clip":
            text, true, frames = batch.text[0], batch.gt_masks[0], list(side2.grounding_pixels)
            if text is None:
                masks: Tensor | None = self.follow_clip(frames, torch.from_numpy(true[0]))
            else:
                masks = self.segment_clip(shown[:SHOWN_FRAMES], frames, text)
            if masks is not None:
                results[0]["pred_mask"] = np.stack([_full_size(mask, true.shape[1:]) for mask in masks])
            return results
        if batch.kind == "refer":
            found = self.segment(self.encode_distinct(side2), [text or "" for text in batch.text])
            for result, mask in zip(results, found, strict=True):
                result["pred_mask"] = _at_size(mask, result["gt_mask"].shape)
            return results
        # A region without a cell cannot be described, so it gets neither a caption nor a mask from one.
        rows = batch.caption_side.region.flatten(1).any(1).nonzero().flatten().tolist()
        if not rows:
            return results
        described = [results[row] for row in rows]
        pictures = self.encode_distinct(batch.caption_side).of(rows)
        generated = self.caption(pictures, batch.caption_side.region[rows])
        captions = [self.prompts.decode(ids) for ids, _ in generated]
        for result, caption, (_, stopped) in zip(described, captions, generated, strict=True):
            result.update(caption=caption, stopped=bool(stopped))
        if batch.kind == "cycle":
            pictures2 = pictures if batch.mask_side is None else self.encode_distinct(side2).of(rows)
            masks2 = self.read(pictures2, captions, [result["gt_mask"].shape for result in described])
            for result, cycle_mask in zip(described, masks2, strict=True):
                result["cycle_mask"] = cycle_mask
        return results

    def read(
        self, pictures: Pictures, captions: Sequence[str | None], sizes: Sequence[tuple[int, ...]]
    ) -> list[np.ndarray | None]:
        """Masks, bool (H, W) of ``sizes``, that captions lead to on pictures.

        None where there is no caption, where it is empty, and where the model gave no mask. An empty one is read all
        the same, so that a picture's mask does not depend on what else is in the batch.
        """
        rows = [row for row, caption in enumerate(captions) if caption is not None]
        read: list[np.ndarray | None] = [None] * len(captions)
        if rows:
            masks = self.segment(pictures.of(rows), [captions[row] or "" for row in rows])
            for row, mask in zip(rows, masks, strict=True):
                read[row] = _at_size(mask, sizes[row]) if (captions[row] or "").strip() else None
        return read


def _at_size(mask: Tensor | None, size: tuple[int, ...]) -> np.ndarray | None:
    """Mask logits [h, w] as a mask, bool (H, W)."""
    return None if mask is None else _full_size(mask, size)


def _full_size(mask: Tensor, size: tuple[int, ...]) -> np.ndarray:
    full = F.interpolate(mask[None, None].float(), size, mode="bilinear", align_corners=False)[0, 0]
    return (full > 0).cpu().numpy()

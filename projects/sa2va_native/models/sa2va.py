"""Sa2VA: InternVL reads and writes, SAM 2 draws, ``[SEG]`` joins them (arXiv:2501.04001).

The parts are native transformers classes; sizes come from the config alone, so that the tiny CPU model and the 4B model
are the same code. Shapes: see :mod:`sa2va_native.structures`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from accelerate import init_empty_weights
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import InternVLConfig, InternVLForConditionalGeneration, PreTrainedModel, StoppingCriteriaList

from sa2va_native.checkpoints.importing import allocate, import_base, import_trained, open_source
from sa2va_native.checkpoints.loading import LoadReport
from sa2va_native.errors import ConfigError, did_you_mean
from sa2va_native.models import prompts as P
from sa2va_native.models.feature_cache import FeatureCache, Features
from sa2va_native.models.grounding import LanguageSam2, MaskPrediction
from sa2va_native.models.losses import language_loss, mask_losses
from sa2va_native.models.normalisation import normalise
from sa2va_native.models.seg_head import build_seg_head
from sa2va_native.models.stop_words import StopWords
from sa2va_native.models.tokenizer import load_tokenizer
from sa2va_native.randomness.generators import choose, generator, generators
from sa2va_native.structures import Batch, DrawKey, Side

#: What can be trained, and the parameter names that make it up.
PARTS: dict[str, tuple[str, ...]] = {
    "lora": ("lora_",),
    "projector": ("mllm.model.multi_modal_projector.",),
    "embeddings": ("mllm.model.language_model.embed_tokens.", "mllm.lm_head."),
    "mask_decoder": ("grounding.sam2.mask_decoder.",),
    "seg_head": ("text_hidden_fcs.",),
    "language_model": ("mllm.model.language_model.layers.", "mllm.model.language_model.norm."),
    "vision_tower": ("mllm.model.vision_tower.",),
    "sam2": ("grounding.sam2.",),
}
#: The parts whose output :class:`FeatureCache` keeps.
TOWER_PARTS = ("vision_tower", "sam2")
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Pictures(NamedTuple):
    """What the frozen towers make of a batch of pictures; computed once a step, shared by teacher and student."""

    vision: Tensor  #: [B, g * g, C] features before the projector
    maps: tuple[Tensor, ...]  #: SAM 2 feature maps

    def of(self, rows: list[int]) -> Pictures:
        """Those of some pictures of the batch."""
        return Pictures(self.vision[rows], tuple(level[rows] for level in self.maps))


@MODELS.register_module()
class Sa2VA(BaseModel):
    """Referring segmentation and region captioning in one model.

    Args:
        internvl: keywords of :class:`transformers.InternVLConfig`, with ``vision_config`` and ``text_config``.
        sam2: keywords of :class:`transformers.Sam2VideoConfig`.
        tokenizer: directory with a Hugging Face tokenizer; the five tokens of Sa2VA are added to it.
        weights: checkpoints that together hold all base weights (InternVL and SAM 2, or Sa2VA, in any layout of
            :mod:`sa2va_native.checkpoints.layouts`), and at will those that a run trained. None: random weights.
        allow_unexplained: go on although a tensor of ``weights`` is missing, unexpected or of another shape.
        dtype: of all parameters. ``"bfloat16"`` needs an optimizer with float32 master weights, as DeepSpeed's.
        lora: keywords of :class:`peft.LoraConfig` (``r``, ``lora_alpha``, ``lora_dropout``), or None.
        trainable: names from :data:`PARTS`; everything else is frozen.
        attention: ``"sdpa"``, ``"eager"`` or ``"flash_attention_2"`` (needs flash-attn).
        gradient_checkpointing: compute each layer of the language model again in the backward pass instead of keeping
            what it made: memory for a third more time.
        mask_loss: keywords of :func:`sa2va_native.models.losses.mask_losses`.
        max_new_tokens: T, length limit of generated captions and answers.
        feature_cache: keywords of :class:`sa2va_native.models.feature_cache.FeatureCache` (``folder``, ``max_gb``),
            or None to run the towers each time.

    Raises:
        ConfigError: unknown part, a tokenizer that does not fit, or a tower that is trained beside ``feature_cache``.
        CheckpointError: ``weights`` leave a tensor unexplained.
    """

    def __init__(
        self,
        internvl: dict[str, Any],
        sam2: dict[str, Any],
        tokenizer: str,
        weights: str | Sequence[str] | None = None,
        allow_unexplained: bool = False,
        dtype: str = "float32",
        lora: dict[str, Any] | None = None,
        trainable: Sequence[str] = ("lora", "projector", "embeddings", "mask_decoder", "seg_head"),
        attention: str = "sdpa",
        gradient_checkpointing: bool = False,
        mask_loss: dict[str, Any] | None = None,
        max_new_tokens: int = 64,
        feature_cache: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        # copies from pinned memory while the host goes on
        super().__init__(data_preprocessor or dict(type="BaseDataPreprocessor", non_blocking=True))
        self.tokenizer = load_tokenizer(tokenizer)
        config = InternVLConfig(**internvl)
        config.text_config.vocab_size = len(self.tokenizer)
        config.image_token_id = self.tokenizer.convert_tokens_to_ids(P.IMG_CONTEXT)
        sources = [open_source(path) for path in ([weights] if isinstance(weights, str) else weights or ())]
        # Weights that will be loaded need no random values first, which take minutes for billions of parameters.
        with init_empty_weights(include_buffers=False) if sources and not allow_unexplained else nullcontext():
            self.mllm = InternVLForConditionalGeneration._from_config(config, attn_implementation=attention)
            self.grounding = LanguageSam2(sam2)
        self.text_hidden_fcs = build_seg_head(config.text_config.hidden_size, self.grounding.prompt_size)
        allocate(self, getattr(torch, dtype))
        side = config.vision_config.image_size[0] // config.vision_config.patch_size[0]
        self.prompts = P.Prompts(self.tokenizer, int(side * config.downsample_ratio) ** 2)
        self.mask_loss = dict(mask_loss or {})
        self.max_new_tokens = max_new_tokens
        self.seed = 0  #: of all random draws; TrainLoop puts in the run's
        self.feature_cache = FeatureCache(**feature_cache) if feature_cache is not None else None

        # In this order: weights named after the plain model would not be found once LoRA has renamed its layers.
        self.load_report: LoadReport | None = None
        if base := [source for source in sources if not source.is_trained_part]:
            self.load_report = import_base(self, base, len(P.ADDED_TOKENS), allow_unexplained)
        if lora is not None:
            inject_adapter_in_model(LoraConfig(target_modules=list(LORA_TARGETS), **lora), self.language_model)
        if gradient_checkpointing:
            # Not reentrant: the reentrant kind passes no gradient on to keyword inputs.
            self.language_model.gradient_checkpointing_enable(dict(use_reentrant=False))
        self._freeze_all_but(trainable)
        if trained := [source for source in sources if source.is_trained_part]:
            import_trained(self, trained, allow_unexplained)

    def init_weights(self) -> None:
        """Nothing: weights are drawn or loaded in the constructor, and a runner must not draw them again."""

    def _freeze_all_but(self, trainable: Sequence[str]) -> None:
        for part in trainable:
            if part not in PARTS:
                raise ConfigError(f"trainable: unknown part {part!r}. {did_you_mean(part, PARTS)}")
            if part in TOWER_PARTS and self.feature_cache is not None:
                raise ConfigError(
                    f"trainable: {part!r} with a feature_cache, which keeps what a frozen tower makes. Leave one out."
                )
        self.requires_grad_(False)
        for part in trainable:
            for parameter in self.part(part):
                parameter.requires_grad_(True)

    def part(self, name: str) -> list[nn.Parameter]:
        """Parameters of one of :data:`PARTS`."""
        return [p for n, p in self.named_parameters() if any(key in n for key in PARTS[name])]

    def gradient_groups(self) -> dict[str, list[nn.Parameter]]:
        """The trained parameters by part, each under the first of :data:`PARTS` that names it; for monitoring."""
        groups: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                part = next(part for part, keys in PARTS.items() if any(key in name for key in keys))
                groups.setdefault(part, []).append(parameter)
        return groups

    # -- the pieces that a training step is made of ------------------------------------------------------------

    @property
    def language_model(self) -> PreTrainedModel:
        """The Qwen2 backbone, LoRA included, without its output head."""
        return self.mllm.model.language_model

    @property
    def embedding(self) -> nn.Module:
        """The input embedding table [V, D]."""
        return self.mllm.get_input_embeddings()

    @property
    def dtype(self) -> torch.dtype:
        """Compute type of the weights."""
        return next(self.text_hidden_fcs.parameters()).dtype

    @property
    def is_partitioned(self) -> bool:
        """Whether ZeRO-3 has split the weights over the ranks.

        Every forward of a layer is a collective then: all ranks must run the same ones, whatever their samples need.
        """
        # ZeRO-3's mark. By name, as in `embedding.weight`, the parameter would be gathered: a collective too.
        return hasattr(next(self.parameters()), "ds_tensor")

    @torch.no_grad()
    def encode_pictures(self, side: Side, *, grounding: bool = True) -> Pictures:
        """Run the frozen towers once, without autograd; not on pictures that ``feature_cache`` has."""
        (hidden,) = self._seen_by(self.mllm.model.vision_tower, side.pixel_values, self._vit_states)
        if not grounding:
            return Pictures(self.pixel_shuffled(hidden), ())
        maps = self._seen_by(self.grounding.sam2.vision_encoder, side.grounding_pixels, self.grounding.encode)
        return Pictures(self.pixel_shuffled(hidden), maps)

    def _seen_by(self, tower: PreTrainedModel, pixels: Tensor, run: Callable[[Tensor], Features]) -> Features:
        """What ``run``, which runs ``tower``, makes of uint8 pictures [B, 3, H, W]."""

        def compute(pixels: Tensor) -> Features:
            return run(normalise(pixels).to(self.dtype))

        return compute(pixels) if self.feature_cache is None else self.feature_cache(tower, pixels, compute)

    def _vit_states(self, pixels: Tensor) -> Features:
        """States [B, 1 + N, C] of normalised pictures [B, 3, S, S], as the only one of its features."""
        return (self.mllm.model.vision_tower(pixel_values=pixels).last_hidden_state,)

    def pixel_shuffled(self, hidden: Tensor) -> Tensor:
        """ViT states [B, 1 + N, C] -> [B, N / 4, 4 C]: no class token, each 2 x 2 patches one visual token."""
        cells = int((hidden.shape[1] - 1) ** 0.5)
        grid = hidden[:, 1:].unflatten(1, (cells, cells))
        return self.mllm.model.pixel_shuffle(grid, scale_factor=self.mllm.config.downsample_ratio).flatten(1, 2)

    def visual_tokens(self, vision: Tensor, region: Tensor | None = None) -> list[Tensor]:
        """Project [B, g*g, C] and append the tokens of ``region`` [B, g, g] -> B tensors [g*g + n_vp, D].

        Not under ``no_grad``: the projector is trained, on the caption side too.
        """
        tokens = self.mllm.model.multi_modal_projector(vision)
        if region is None:
            return list(tokens)
        return [torch.cat([t, t[cells]]) for t, cells in zip(tokens, region.flatten(1), strict=True)]

    def hidden_states(self, prompts: P.EmbeddedPrompts) -> Tensor:
        """Last hidden states [B, L, D] of a left-padded batch."""
        positions = (prompts.attention_mask.cumsum(1) - 1).clamp(min=0)
        return self.language_model(
            inputs_embeds=prompts.inputs_embeds, attention_mask=prompts.attention_mask, position_ids=positions,
            use_cache=False,
        ).last_hidden_state  # fmt: skip

    def next_token_logits(self, hidden: Tensor, targets: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits at the positions that predict the last tokens of each prompt, and nowhere else.

        Args:
            hidden: [B, L, D] of a left-padded batch whose rows end with ``targets[i][:-1]``.
            targets: B id tensors [T_i].

        Returns:
            logits [B, T, V] and labels [B, T] (:data:`NO_LABEL` past T_i), right-padded.
        """
        rows = pad_sequence([h[len(h) - len(t) :] for h, t in zip(hidden, targets, strict=True)], batch_first=True)
        labels = pad_sequence(list(targets), batch_first=True, padding_value=P.NO_LABEL).to(hidden.device)
        return self.mllm.lm_head(rows), labels

    def seg_prompts(self, hidden: Tensor, ids: Tensor) -> Tensor:
        """Prompts [B, C] for SAM 2 from the hidden states [B, L, D] at ``[SEG]``."""
        rows = torch.arange(len(hidden), device=hidden.device)
        return self.text_hidden_fcs(hidden[rows, self.prompts.seg_positions(ids)])

    def mask_from(self, hidden: Tensor, ids: Tensor, pictures: Pictures) -> MaskPrediction:
        """Masks from the hidden states [B, L, D] at ``[SEG]``."""
        return self.grounding(pictures.maps, self.seg_prompts(hidden, ids))

    @torch.no_grad()
    def generate(self, prompts: P.EmbeddedPrompts, suppress: Sequence[int] = ()) -> list[tuple[Tensor, bool]]:
        """Greedy continuation of each prompt, cut before the stop word: B pairs of ids [T_i] and "did it stop".

        ``suppress`` are ids that are never generated.
        """
        with evaluating(self.mllm):
            new_ids = self.mllm.generate(
                inputs_embeds=prompts.inputs_embeds,
                attention_mask=prompts.attention_mask,
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                stopping_criteria=StoppingCriteriaList([StopWords(self.tokenizer, P.END)]),
                pad_token_id=self.prompts.pad_id,
                eos_token_id=self.tokenizer.eos_token_id,
                suppress_tokens=list(suppress) or None,
                synced_gpus=self.is_partitioned,  # ranks that are done go on until all are
            )
        return [self.prompts.until_stop(row) for row in new_ids.cpu()]

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
        side = batch.mask_side or batch.caption_side
        points = generators(self.seed, batch.keys, "points")
        return {**mask_losses(prediction.mask_logits, side.mask, points, **self.mask_loss), "loss_lm": loss_lm}

    def refer(self, batch: Batch) -> tuple[MaskPrediction, Tensor]:
        """Expression -> mask with the answer given (teacher forcing), and the language loss on that answer."""
        pictures = self.encode_pictures(batch.mask_side or batch.caption_side)
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
        """One prompt per region [B, g, g]; its slots are counted from the very cells that fill them."""
        return [self.prompts.ask_caption(int(cells)) for cells in region.sum((1, 2))]

    def caption_logits(
        self, pictures: Pictures, region: Tensor, fed: Sequence[Tensor], targets: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Logits [B, T, V] at the caption positions, teacher-forced on ``fed``, and labels [B, T] from ``targets``."""
        rows = [torch.cat([q, ids[:-1]]) for q, ids in zip(self.caption_prompts(region), fed, strict=True)]
        embedded = self.prompts.embed(self.embedding, rows, self.visual_tokens(pictures.vision, region))
        return self.next_token_logits(self.hidden_states(embedded), targets)

    # -- inference ---------------------------------------------------------------------------------------------

    def caption(self, pictures: Pictures, region: Tensor) -> list[tuple[Tensor, bool]]:
        """Greedy captions of regions [B, g, g]: B pairs of ids [T_i] and "did it stop".

        Captions hold words only: a visual slot or a ``[SEG]`` inside would break the prompts that they become part of.
        """
        tokens = self.visual_tokens(pictures.vision, region)
        no_words = [i for i in self.prompts.special_ids if i not in (self.tokenizer.eos_token_id, self.prompts.pad_id)]
        return self.generate(self.prompts.embed(self.embedding, self.caption_prompts(region), tokens), no_words)

    @torch.no_grad()
    def answer_prompts(self, asked: Sequence[Tensor], tokens: Sequence[Tensor]) -> list[Tensor | None]:
        """Prompts [C] for SAM 2 from generated answers to ``asked``; None where one holds no single ``[SEG]``.

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
        """Masks [h, w] (logits) for expressions: generates the answer; None where it holds no single ``[SEG]``."""
        asked = [self.prompts.ask_segment(expression) for expression in expressions]
        prompts = self.answer_prompts(asked, self.visual_tokens(pictures.vision))
        masks: list[Tensor | None] = [None] * len(prompts)
        if given := {i: prompt for i, prompt in enumerate(prompts) if prompt is not None}:
            maps = pictures.of(list(given)).maps
            for i, mask in zip(given, self.grounding(maps, torch.stack(list(given.values()))).mask_logits, strict=True):
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
            None where the answer holds no single ``[SEG]``.
        """
        hidden = self.mllm.model.vision_tower(pixel_values=normalise(shown).to(self.dtype)).last_hidden_state
        tokens = torch.cat(self.visual_tokens(self.pixel_shuffled(hidden)))
        asked = self.prompts.ask_segment(expression, pictures=len(shown))
        (prompt,) = self.answer_prompts([asked], [tokens])
        if prompt is None:
            return None
        return self.grounding.track(
            [normalise(frame).to(self.dtype) for frame in frames], dict.fromkeys(range(len(shown)), prompt)
        )

    @torch.no_grad()
    def predict(self, batch: Batch) -> list[dict[str, Any]]:
        """Results of a batch, one dict a sample.

        ``refer``: ``pred_mask`` from the human expression. ``cycle`` and ``caption``: a greedy ``caption`` of the
        region; ``cycle`` also ``cycle_mask``, the mask that this caption, as text, leads back to. Masks are bool at the
        size of the ground truth. None where the model gave none, as for a region [g, g] without a cell.
        """
        side2 = batch.mask_side or batch.caption_side
        results: list[dict[str, Any]] = [
            dict(
                kind=batch.kind, source=source, sample_id=sample_id, attributes=attributes, text=text, gt_mask=gt_mask,
                caption=None, pred_mask=None, cycle_mask=None,
            )
            for source, sample_id, attributes, text, gt_mask in zip(
                batch.sources, batch.sample_ids, batch.attributes, batch.text, batch.gt_masks, strict=True
            )
        ]  # fmt: skip
        if batch.kind == "refer":
            self._put_masks(
                results, "pred_mask", self.segment(self.encode_pictures(side2), [text or "" for text in batch.text])
            )
            return results
        # A region without a cell cannot be described, so it gets no caption, and no mask from one.
        rows = batch.caption_side.region.flatten(1).any(1).nonzero().flatten().tolist()
        if not rows:
            return results
        described = [results[row] for row in rows]
        pictures = self.encode_pictures(batch.caption_side).of(rows)
        captions = [self.prompts.decode(ids) for ids, _ in self.caption(pictures, batch.caption_side.region[rows])]
        for result, caption in zip(described, captions, strict=True):
            result["caption"] = caption
        if batch.kind == "cycle":
            pictures2 = pictures if batch.mask_side is None else self.encode_pictures(side2).of(rows)
            self._put_masks(described, "cycle_mask", self.segment(pictures2, captions))
        return results

    @staticmethod
    def _put_masks(results: list[dict[str, Any]], name: str, masks: Sequence[Tensor | None]) -> None:
        for result, mask in zip(results, masks, strict=True):
            if mask is not None:
                size = result["gt_mask"].shape
                full = F.interpolate(mask[None, None].float(), size, mode="bilinear", align_corners=False)[0, 0]
                result[name] = (full > 0).cpu().numpy()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Switch dropout off for a while, and put each submodule back into its own mode."""
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for m, training in modes.items():
            m.training = training

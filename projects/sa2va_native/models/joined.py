"""A multimodal language model and a mask model, joined by ``[SEG]``: how they are built, and the pieces of a step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import init_empty_weights
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from sa2va_native.checkpoints.importing import allocate, import_base, import_trained, open_source
from sa2va_native.checkpoints.loading import LoadReport
from sa2va_native.errors import ConfigError, did_you_mean
from sa2va_native.models import prompts as P
from sa2va_native.models.context import Context
from sa2va_native.models.decoding import Decoding, growing
from sa2va_native.models.evaluating import evaluating
from sa2va_native.models.feature_cache import FeatureCache, Features
from sa2va_native.models.normalisation import normalise
from sa2va_native.models.pictures import Pictures, picture_ids
from sa2va_native.models.protocols import Grounding, MaskPrediction, MultimodalLanguageModel
from sa2va_native.models.seg_head import build_seg_head
from sa2va_native.models.tokenizer import load_tokenizer
from sa2va_native.parallel.agreement import on_all_ranks
from sa2va_native.structures import Side


class JoinedModel(BaseModel):
    """The two halves of Sa2VA, its tokenizer and prompts, and the head between hidden states and mask prompts.

    Sizes come from the config alone, so that the tiny CPU model and the 4B model are the same code.

    Args:
        mllm: config of the half that sees, reads and writes, e.g. ``dict(type=InternVL, ...)``; any class that
            implements :class:`sa2va_native.models.protocols.MultimodalLanguageModel`.
        grounding: config of the half that draws, e.g. ``dict(type=LanguageSam2, ...)``; any class that implements
            :class:`sa2va_native.models.protocols.Grounding`.
        tokenizer: see :func:`sa2va_native.models.tokenizer.load_tokenizer`; the five tokens of Sa2VA are added to it.
        weights: checkpoints that together hold all base weights (InternVL and SAM 2, or Sa2VA, in any layout of
            :mod:`sa2va_native.checkpoints.layouts`), and optionally those that a run trained. None: random weights.
        allow_unexplained: continue even if a tensor of ``weights`` is missing, unexpected or of another shape.
        dtype: of all parameters. ``"bfloat16"`` needs an optimizer with float32 master weights, such as DeepSpeed's.
        lora: keywords of :class:`peft.LoraConfig` (``r``, ``lora_alpha``, ``lora_dropout``), or None.
        trainable: names of parts: ``"lora"``, ``"seg_head"``, and those of the two halves; all else is frozen.
        gradient_checkpointing: compute each layer of the language model again in the backward pass instead of keeping
            its activations: less memory for a third more time.
        mask_loss: keywords of :func:`sa2va_native.models.losses.mask_losses`.
        max_new_tokens: T, length limit of generated captions and answers.
        feature_cache: keywords of :class:`sa2va_native.models.feature_cache.FeatureCache` (``folder``, ``max_gb``),
            or None to run the towers each time.

    Raises:
        ConfigError: unknown part, a tokenizer that does not fit, or a tower that is trained despite ``feature_cache``.
        CheckpointError: ``weights`` leave a tensor unexplained.
    """

    mllm: MultimodalLanguageModel
    grounding: Grounding

    def __init__(
        self,
        mllm: dict[str, Any],
        grounding: dict[str, Any],
        tokenizer: str,
        weights: str | Sequence[str] | None = None,
        allow_unexplained: bool = False,
        dtype: str = "float32",
        lora: dict[str, Any] | None = None,
        trainable: Sequence[str] = ("lora", "projector", "embeddings", "mask_decoder", "seg_head"),
        gradient_checkpointing: bool = False,
        mask_loss: dict[str, Any] | None = None,
        max_new_tokens: int = 64,
        feature_cache: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        # copies from pinned memory while the host continues
        super().__init__(data_preprocessor or dict(type="BaseDataPreprocessor", non_blocking=True))
        self.tokenizer = load_tokenizer(tokenizer)
        sources = [open_source(path) for path in ([weights] if isinstance(weights, str) else weights or ())]
        # Weights that will be loaded need no random values first, which take minutes for billions of parameters.
        with init_empty_weights(include_buffers=False) if sources and not allow_unexplained else nullcontext():
            self.mllm = MODELS.build({**mllm, "tokenizer": self.tokenizer})
            self.grounding = MODELS.build(grounding)
        self.text_hidden_fcs = build_seg_head(self.mllm.hidden_size, self.grounding.prompt_size)
        allocate(self, getattr(torch, dtype))
        self.prompts = P.Prompts(self.tokenizer, self.mllm.picture_tokens, self.mllm.grid_size**2)
        self.mask_loss = dict(mask_loss or {})
        self.max_new_tokens = max_new_tokens
        self.seed = 0  #: seed of all random draws; TrainLoop sets it to the run's
        self.feature_cache = FeatureCache(**feature_cache) if feature_cache is not None else None

        # In this order: weights named after the plain model would not be found once LoRA has renamed its layers.
        self.load_report: LoadReport | None = None
        if base := [source for source in sources if not source.is_trained_part]:
            self.load_report = import_base(self, base, self.vocabulary, len(P.ADDED_TOKENS), allow_unexplained)
        if lora is not None:
            inject_adapter_in_model(
                LoraConfig(target_modules=list(self.mllm.lora_targets), **lora), self.language_model
            )
        if gradient_checkpointing:
            # Not reentrant: the reentrant kind passes no gradient to keyword inputs.
            self.language_model.gradient_checkpointing_enable(dict(use_reentrant=False))
        self._freeze_all_but(trainable)
        if trained := [source for source in sources if source.is_trained_part]:
            import_trained(self, trained, allow_unexplained)

    def init_weights(self) -> None:
        """Does nothing: the constructor draws or loads the weights, and a runner must not draw them again."""

    def _freeze_all_but(self, trainable: Sequence[str]) -> None:
        towers = (self.mllm.tower_part, self.grounding.tower_part)
        for part in trainable:
            if part not in self.parts:
                raise ConfigError(f"trainable: unknown part {part!r}. {did_you_mean(part, self.parts)}")
            if part in towers and self.feature_cache is not None:
                raise ConfigError(
                    f"trainable: {part!r} with a feature_cache, which needs a frozen tower. Leave one out."
                )
        self.requires_grad_(False)
        for part in trainable:
            for parameter in self.part(part):
                parameter.requires_grad_(True)

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """Parts that can be trained or counted, with the prefixes of their parameters' names."""
        return {
            **{part: tuple(f"mllm.{name}" for name in names) for part, names in self.mllm.parts.items()},
            **{part: tuple(f"grounding.{name}" for name in names) for part, names in self.grounding.parts.items()},
            "seg_head": ("text_hidden_fcs.",),
            "lora": (),  # wherever it is attached
        }

    def part(self, name: str) -> list[nn.Parameter]:
        """Parameters of one of :attr:`parts`; a part may be within another one."""
        beginnings = self.parts[name]
        return [
            parameter
            for full, parameter in self.named_parameters()
            if (_is_lora(full) if name == "lora" else full.startswith(beginnings))
        ]

    def part_of(self, name: str) -> str:
        """The first of :attr:`parts` to which a parameter belongs, so that they add up to the whole."""
        if _is_lora(name):
            return "lora"
        return next(part for part, beginnings in self.parts.items() if name.startswith(beginnings))

    def gradient_groups(self) -> dict[str, list[nn.Parameter]]:
        """The trained parameters by part; for monitoring."""
        groups: dict[str, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(self.part_of(name), []).append(parameter)
        return groups

    @property
    def mask_groups(self) -> set[str]:
        """Which of these parts are used by masks alone, not by captions."""
        return {"seg_head", *self.grounding.parts}

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Names of the tensors whose rows are tokens."""
        return tuple(f"mllm.{name}" for name in self.mllm.vocabulary)

    # -- the pieces that a training step is made of ------------------------------------------------------------

    @property
    def language_model(self) -> PreTrainedModel:
        """The language model, LoRA included, without its output head."""
        return self.mllm.language_model

    @property
    def embedding(self) -> nn.Module:
        """The input embedding table [V, D]."""
        return self.mllm.embedding

    @property
    def dtype(self) -> torch.dtype:
        """Compute type of the weights."""
        return next(self.text_hidden_fcs.parameters()).dtype

    @property
    def is_partitioned(self) -> bool:
        """Whether ZeRO-3 has split the weights over the ranks.

        Every forward of a layer is a collective then: all ranks must run the same ones, whatever their samples need.
        """
        # ZeRO-3's mark. Accessing the parameter by name, `embedding.weight`, would gather it: a collective too.
        return hasattr(next(self.parameters()), "ds_tensor")

    @torch.no_grad()
    def encode_pictures(
        self, side: Side, *, grounding: bool = True, looks: Sequence[Hashable] | None = None
    ) -> Pictures:
        """Run the frozen towers once, without autograd, except on pictures that ``feature_cache`` has.

        Samples with the same one of B ``looks`` show the same picture, which is then encoded once. A smaller batch is
        encoded, so the last bits of some kernels may differ.
        """
        shown = None
        if looks is not None and len(distinct := list(dict.fromkeys(looks))) < len(looks):
            shown = tuple(distinct.index(look) for look in looks)
            side = side.of([looks.index(look) for look in distinct])
        (vision,) = self._seen_by(self.mllm.tower, side.pixel_values, self._vision_features)
        if not grounding:
            return Pictures(vision, (), shown)
        maps = self._seen_by(self.grounding.tower, side.grounding_pixels, self.grounding.encode)
        return Pictures(vision, maps, shown)

    def encode_distinct(self, side: Side, *, grounding: bool = True) -> Pictures:
        """:meth:`encode_pictures` where pictures may be in several rows, as in an evaluation; their pixels tell."""
        looks = list(zip(picture_ids(side.pixel_values), picture_ids(side.grounding_pixels), strict=True))
        return self.encode_pictures(side, grounding=grounding, looks=looks).copied()

    def _seen_by(self, tower: PreTrainedModel, pixels: Tensor, run: Callable[[Tensor], Features]) -> Features:
        """The output of ``run``, which calls ``tower``, for uint8 pictures [B, 3, H, W]."""

        def compute(pixels: Tensor) -> Features:
            return run(normalise(pixels).to(self.dtype))

        return compute(pixels) if self.feature_cache is None else self.feature_cache(tower, pixels, compute)

    def _vision_features(self, pixels: Tensor) -> Features:
        return (self.mllm.encode(pixels),)

    def visual_tokens(
        self, vision: Tensor, region: Tensor | None = None, shown: Sequence[int] | None = None
    ) -> list[Tensor]:
        """Project [P, g*g, C] and append the tokens of ``region`` [B, g, g] -> B tensors [g*g + n_vp, D].

        ``shown`` [B] tells which picture each sample shows; None: its own. Not under ``no_grad``: the projector is
        trained, on the caption side too.
        """
        tokens = list(self.mllm.project(vision))
        if shown is not None:
            tokens = [tokens[one] for one in shown]
        if region is None:
            return tokens
        return [torch.cat([t, t[cells]]) for t, cells in zip(tokens, region.flatten(1), strict=True)]

    def hidden_states(self, prompts: P.EmbeddedPrompts, context: Context | None = None) -> Tensor:
        """Last hidden states [B, L, D] of a left-padded batch, which goes on from ``context`` and extends it."""
        if context is None:
            return self.mllm.hidden_states(prompts.inputs_embeds, prompts.attention_mask)
        mask = context.extend(prompts.attention_mask)
        return self.mllm.hidden_states(prompts.inputs_embeds, mask, context.cache)

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
        return self.mllm.logits(rows), labels

    def seg_prompts(self, hidden: Tensor, ids: Tensor) -> Tensor:
        """Prompts [B, C] for SAM 2 from the hidden states [B, L, D] at ``[SEG]``."""
        rows = torch.arange(len(hidden), device=hidden.device)
        return self.text_hidden_fcs(hidden[rows, self.prompts.seg_positions(ids)])

    def mask_from(self, hidden: Tensor, ids: Tensor, pictures: Pictures) -> MaskPrediction:
        """Masks [N, h, w] from the hidden states [N, L, D] at ``[SEG]``, one or several rows for each sample."""
        return self.drawn(pictures, self.seg_prompts(hidden, ids))

    def drawn(self, pictures: Pictures, prompts: Tensor) -> MaskPrediction:
        """Masks of prompts [N, C], one or several rows for each sample."""
        shown = pictures.shown_by(len(prompts))
        if shown is None:
            return self.grounding(pictures.maps, prompts)
        return self.grounding(pictures.maps, prompts, shown)

    @torch.no_grad()
    def generate(
        self, prompts: P.EmbeddedPrompts, suppress: Sequence[int] = (), decoding: Decoding = growing
    ) -> list[tuple[Tensor, bool]]:
        """Greedy continuation of each prompt, cut before the stop word: B pairs of ids [T_i] and "did it stop".

        ``suppress`` are ids that are never generated.
        """
        never = torch.tensor(list(suppress), dtype=torch.long, device=prompts.ids.device)
        following, new_ids = decoding(self, prompts, never), list[Tensor]()
        with evaluating(self.language_model):  # nothing else has dropout, and a walk over the towers takes its time
            while len(new_ids) < self.max_new_tokens and not self._all_stopped(new_ids):
                new_ids.append(next(following))
        return [self.prompts.until_stop(row) for row in torch.stack(new_ids, 1).cpu()]

    def _all_stopped(self, new_ids: Sequence[Tensor]) -> bool:
        """Whether no row needs another token, of those generated so far, T times [B]; the same on ranks that depend.

        A row that goes on past its stop word is cut later, so a GPU is asked, and waited for, only now and then.
        """
        if not new_ids or len(new_ids) % _tokens_between_checks(new_ids[0].device):
            return False
        stopped = all(self.prompts.until_stop(row)[1] for row in torch.stack(list(new_ids), 1).cpu())
        return on_all_ranks(stopped) if self.is_partitioned else stopped


def _tokens_between_checks(device: torch.device) -> int:
    return 1 if device.type == "cpu" else 8


def _is_lora(name: str) -> bool:
    return ".lora_" in name

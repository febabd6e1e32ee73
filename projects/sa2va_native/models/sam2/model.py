"""SAM 2 prompted by language: one embedding in, one mask out (Sa2VA, arXiv:2501.04001, section 3)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn
from transformers import PreTrainedModel, Sam2VideoConfig, Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import NO_OBJ_SCORE, Sam2VideoInferenceSession

from sa2va_native.errors import ConfigError
from sa2va_native.models.protocols import Grounding, GroundingSizes, MaskPrediction


@MODELS.register_module()
class LanguageSam2(nn.Module):
    """SAM 2 whose prompt is a language embedding; see :class:`sa2va_native.models.protocols.Grounding`.

    Args:
        config: keywords of :class:`transformers.Sam2VideoConfig`; SAM 2.0 is
            ``enable_temporal_pos_encoding_for_object_pointers=False, enable_occlusion_spatial_embedding=False``.
    """

    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {"mask_decoder": ("sam2.mask_decoder.",), "sam2": ("sam2.",)}
    tower_part: ClassVar[str] = "sam2"
    keywords_of: ClassVar[type] = Sam2VideoConfig  #: what ``**config`` may hold, for the check of a run's config

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.sam2 = Sam2VideoModel(sam2_config(config))
        neck = self.sam2.vision_encoder.neck
        neck.position_encoding = _PositionEncoding(neck.position_encoding)
        # One position matrix under two names. transformers ties it up to 4.57, and only where it loads by itself.
        self.sam2.prompt_encoder.shared_embedding.positional_embedding.data = (
            self.sam2.shared_image_embedding.positional_embedding.data
        )

    @classmethod
    def data_sizes(cls, config: Mapping[str, Any]) -> dict[str, int]:
        """G, and h = w, of a model with these keywords."""
        sam2 = sam2_config({key: value for key, value in config.items() if key != "type"})
        prompted = sam2.prompt_encoder_config
        return dict(grounding_size=sam2.image_size, mask_size=4 * (prompted.image_size // prompted.patch_size))

    @property
    def tower(self) -> PreTrainedModel:
        """Hiera and its neck, which are never trained."""
        return self.sam2.vision_encoder

    @property
    def image_size(self) -> int:
        """G, side of SAM 2's pictures."""
        return self.sam2.config.image_size

    @property
    def prompt_size(self) -> int:
        """Width of a language prompt (256 for every released SAM 2)."""
        return self.sam2.config.prompt_encoder_config.hidden_size

    @property
    def mask_size(self) -> int:
        """Side of the mask logits, a quarter of the picture's."""
        return self.sam2.prompt_encoder.mask_input_size[0]

    @property
    def sizes(self) -> GroundingSizes:
        """For the memory plan of a run."""
        # The three feature maps are 16, 4 and 1 times the top one's cells; the mask decoder keeps about 30 tensors of
        # its size.
        return GroundingSizes(map_width=self.prompt_size, map_side=self.mask_size // 4, kept_maps=16 + 4 + 1 + 30)

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of pictures [B, 3, G, G]: three levels [B, C, G/4..], [B, C, G/8..], [B, C, G/16..].

        The decoder's own convolutions on the first two are left to :meth:`forward`, since they are trained.
        """
        with self.sam2.vision_encoder.neck.position_encoding.left_out():  # only tracking reads them
            return tuple(self.sam2.vision_encoder(pixels).fpn_hidden_states)

    def forward(self, maps: tuple[Tensor, ...], prompts: Tensor, shown: Sequence[int] | None = None) -> MaskPrediction:
        """Masks for ``prompts`` [N, C] on the P ``maps`` of :meth:`encode`; see the protocol.

        As in Sa2VA, the language embedding follows the padding-point tokens as one more sparse token, without a
        dense prompt, and the best of three masks is kept.
        """
        top = maps[2] + self.sam2.no_memory_embedding.view(1, -1, 1, 1)
        fine = self._fine(maps)
        if shown is None:
            return self._decode(fine, top, prompts.unflatten(0, (len(top), -1))[:, :, None])[0]
        # The decoder copies what it takes for each prompt in any case. The maps, 4 to 8 times as large, are not copied.
        rows = torch.tensor(shown, device=top.device)
        return self._decode([level[rows] for level in fine], top[rows], prompts[:, None, None])[0]

    @torch.no_grad()
    def pointed(self, maps: tuple[Tensor, ...], points: Tensor, labels: Tensor) -> MaskPrediction:
        """One mask for the points of each picture, by SAM 2's own prompts; a box is two points.

        The best of three masks is kept for boxes too: Sa2VA trains the decoder on these three alone.

        Args:
            maps: of :meth:`encode`, with B rows.
            points: [B, n, 2], x and y in pixels of SAM 2's picture, 0..G.
            labels: [B, n], 1 on the object, 0 beside it, 2 and 3 the upper left and lower right corner of a box.
        """
        top = maps[2] + self.sam2.no_memory_embedding.view(1, -1, 1, 1)
        sparse, dense = self.sam2.prompt_encoder(points[:, None].float(), labels[:, None], None, None)
        return self._draw(self._fine(maps), top, sparse.to(top.dtype), dense)[0]

    def _fine(self, maps: tuple[Tensor, ...]) -> list[Tensor]:
        """The decoder's own convolutions on the first two maps: [P, C/8, G/4..] and [P, C/4, G/8..]."""
        decoder = self.sam2.mask_decoder
        return [decoder.conv_s0(maps[0]), decoder.conv_s1(maps[1])]

    def _decode(self, fine: list[Tensor], top: Tensor, prompts: Tensor) -> tuple[MaskPrediction, Tensor, Tensor]:
        """The mask decoder on ``top`` [B, C, G/16..], the third map with or without memory attention.

        Args:
            fine: of :meth:`_fine`, with B rows.
            top: [B, C, G/16, G/16].
            prompts: [B, S, n, C] sparse tokens behind the padding point, S prompts for each row; n may be 0.

        Returns:
            N = B * S masks, the tokens [N, C] that they came from, and object scores [N, 1].
        """
        batch, each = prompts.shape[:2]
        points = prompts.new_zeros(batch, each, 1, 2)
        labels = torch.full((batch, each, 1), -1, dtype=torch.int32, device=prompts.device)
        sparse, dense = self.sam2.prompt_encoder(points, labels, None, None)
        return self._draw(fine, top, torch.cat([sparse.to(prompts.dtype), prompts], dim=2), dense)

    def _draw(
        self, fine: list[Tensor], top: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[MaskPrediction, Tensor, Tensor]:
        """As :meth:`_decode`, of all sparse tokens [B, S, n, C] and the dense prompt [B, C, G/16, G/16]."""
        # The position matrix may be float32 while weights are bfloat16.
        positions = self.sam2.get_image_wide_positional_embeddings().to(top.dtype).repeat(len(top), 1, 1, 1)
        masks, iou, tokens, scores = self.sam2.mask_decoder(
            image_embeddings=top,
            image_positional_embeddings=positions,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
            high_resolution_features=fine,
        )
        masks, iou, tokens, scores = (one.flatten(0, 1) for one in (masks, iou, tokens, scores))
        best = torch.arange(len(masks), device=masks.device), iou.argmax(1)
        return MaskPrediction(masks[best], masks, iou), tokens[best], scores

    @torch.no_grad()
    def track(self, frames: Sequence[Tensor], prompts: Mapping[int, Tensor]) -> Tensor:
        """One object through a clip, by SAM 2's memory.

        Prompted frames come first, each on its own, and are remembered; the others follow in order and see them and
        the frames just before.

        Args:
            frames: F pictures [3, G, G]; each is encoded once, when its turn comes.
            prompts: language prompts [C] by frame.

        Returns:
            mask logits [F, h, w].

        Raises:
            ConfigError: no frame is prompted.
        """
        if not prompts:
            raise ConfigError("track: no frame has a prompt; SAM 2 needs one to know its object")
        session = self._session()
        masks = {i: self._track_frame(session, frames, i, prompts[i]) for i in sorted(prompts)}
        masks |= {i: self._track_frame(session, frames, i, None) for i in range(len(frames)) if i not in prompts}
        return torch.stack([masks[i] for i in range(len(frames))])

    @torch.no_grad()
    def follow(self, frames: Sequence[Tensor], mask: Tensor) -> Tensor:
        """One object through a clip from its mask in the first frame, as SAM 2 does by itself.

        Args:
            frames: F pictures [3, G, G].
            mask: bool [H, W], of any size.

        Returns:
            mask logits [F, h, w]; those of the first frame are the given mask.
        """
        side = (self.image_size,) * 2
        given = F.interpolate(mask[None, None].float(), side, mode="bilinear", antialias=True) >= 0.5
        session = self._session()
        masks = [self._given_frame(session, frames, given)]
        masks += [self._track_frame(session, frames, index, None) for index in range(1, len(frames))]
        return torch.stack(masks)

    def _session(self) -> Sam2VideoInferenceSession:
        """An empty memory of one object, number 0."""
        weight = self.sam2.no_memory_embedding
        session = Sam2VideoInferenceSession(
            inference_device=weight.device, inference_state_device=weight.device, dtype=weight.dtype
        )
        session.obj_id_to_idx(0)
        return session

    def _track_frame(
        self, session: Sam2VideoInferenceSession, frames: Sequence[Tensor], index: int, prompt: Tensor | None
    ) -> Tensor:
        """Mask logits [h, w] of one frame, which is then remembered."""
        output = self.sam2.vision_encoder(frames[index][None])
        maps = tuple(output.fpn_hidden_states)
        features = maps[2].flatten(2).permute(2, 0, 1)
        top = self.sam2._prepare_memory_conditioned_features(
            inference_session=session,
            frame_idx=index,
            obj_idx=0,
            is_initial_conditioning_frame=prompt is not None,
            current_vision_features=features,
            current_vision_positional_embeddings=output.fpn_position_encoding[2].flatten(2).permute(2, 0, 1),
            num_total_frames=len(frames),
        )
        prompts = features.new_zeros(1, 1, 0, self.prompt_size) if prompt is None else prompt[None, None, None]
        prediction, token, score = self._decode(self._fine(maps), top.to(features.dtype), prompts)
        is_there, logits = (score > 0).to(token.dtype), prediction.mask_logits
        if prompt is None:  # SAM 2 leaves such a frame empty; one with a prompt is answered like a picture
            logits = torch.where(score[:, None] > 0, logits, NO_OBJ_SCORE)
        pointer = is_there * self.sam2.object_pointer_proj(token) + (1 - is_there) * self.sam2.no_object_pointer
        full = F.interpolate(logits[None].float(), (self.sam2.image_size,) * 2, mode="bilinear")
        memory = self.sam2._encode_new_memory(features, full.to(features.dtype), score, is_mask_from_pts=False)
        self._remember(session, index, pointer, memory, is_prompted=prompt is not None)
        return logits[0]

    def _given_frame(self, session: Sam2VideoInferenceSession, frames: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Mask logits [h, w] of the first frame from its mask [1, 1, G, G], which is then remembered."""
        maps = tuple(self.sam2.vision_encoder(frames[0][None]).fpn_hidden_states)
        given: Any = self.sam2._use_mask_as_output(maps[2], self._fine(maps), mask)  # all of its fields are there
        features = maps[2].flatten(2).permute(2, 0, 1)
        memory = self.sam2._encode_new_memory(
            features, given.high_res_masks, given.object_score_logits, is_mask_from_pts=True
        )
        self._remember(session, 0, given.object_pointer.flatten(0, -2), memory, is_prompted=True)
        return given.pred_masks[0, 0]

    @staticmethod
    def _remember(
        session: Sam2VideoInferenceSession,
        index: int,
        pointer: Tensor,
        memory: tuple[Any, Any],
        is_prompted: bool,
    ) -> None:
        output = {"object_pointer": pointer, "maskmem_features": memory[0], "maskmem_pos_enc": memory[1]}
        session.store_output(0, index, output_value=output, is_conditioning_frame=is_prompted)


class _PositionEncoding(nn.Module):
    """SAM 2's encoding of positions, which its neck makes for each level of each picture: 5 % of the encoder's time."""

    def __init__(self, encoding: nn.Module) -> None:
        super().__init__()
        self.encoding, self.is_left_out = encoding, False

    def forward(self, shape: torch.Size, device: torch.device, dtype: torch.dtype) -> Tensor:
        return torch.empty(0, device=device, dtype=dtype) if self.is_left_out else self.encoding(shape, device, dtype)

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Inside the context the neck gets empty tensors instead."""
        self.is_left_out = True
        try:
            yield
        finally:
            self.is_left_out = False


def sam2_config(config: Mapping[str, Any]) -> Sam2VideoConfig:
    """transformers' config of the keywords of :class:`LanguageSam2`."""
    keywords = copy.deepcopy(dict(config))  # the config classes modify their arguments
    if backbone := keywords.get("vision_config", {}).get("backbone_config"):
        backbone.setdefault("model_type", "sam2_hiera_det_model")
    return Sam2VideoConfig(**keywords)


if TYPE_CHECKING:
    _: type[Grounding] = LanguageSam2

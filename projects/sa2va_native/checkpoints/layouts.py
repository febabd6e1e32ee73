"""The layouts of checkpoints that can be read, and how each is recognised.

Each model's folder lists the names inside its half; here they are put together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sa2va_native.checkpoints.rules import Rule, prefixed, rule
from sa2va_native.checkpoints.translate import plan
from sa2va_native.errors import CheckpointError
from sa2va_native.models.internvl import key_maps as internvl
from sa2va_native.models.sam2 import key_maps as sam2


class Layout(NamedTuple):
    """A way to name the tensors of a checkpoint."""

    name: str
    title: str
    rules: tuple[Rule, ...]
    #: Prefixes of the parts of the model that such a checkpoint holds in full; none if it holds what was trained.
    covers: tuple[str, ...] = ()
    is_directory: bool = False  #: of shards; otherwise one file
    has_lora: bool = False  #: whether it has names for LoRA


#: Where a model keeps its halves, and its own part between them.
MLLM, GROUNDING, SEG_HEAD = "mllm.", "grounding.", "text_hidden_fcs."
_ALL = (MLLM, GROUNDING, SEG_HEAD)
_SEG_HEAD = (rule(f"{SEG_HEAD}*", f"{SEG_HEAD}*"),)
#: Published Sa2VA directories.
_SA2VA_HF = (
    *prefixed(internvl.REMOTE_CODE, "", MLLM),
    *prefixed(sam2.IN_SA2VA_HF, "grounding_encoder.sam2_model.", GROUNDING),
    *_SEG_HEAD,
)
#: What Sa2VA's MMEngine/XTuner runs save: the trained tensors, LoRA kept separate.
_SA2VA_XTUNER = (
    *prefixed(internvl.IN_SA2VA_XTUNER, "mllm.", MLLM),
    *prefixed(sam2.PUBLISHED, "grounding_encoder.sam2_model.", GROUNDING),
    *_SEG_HEAD,
)
#: This project's own names.
_OWN = tuple(rule(f"{part}*", f"{part}*") for part in _ALL)


def _of_mllm(name: str, title: str, rules: tuple[Rule, ...]) -> Layout:
    return Layout(name, title, prefixed(rules, "", MLLM), (MLLM,), is_directory=True)


#: From the one that holds least to the one that holds most, for :func:`detect`.
LAYOUTS = {
    layout.name: layout
    for layout in (
        _of_mllm("internvl", "InternVL, remote code", internvl.REMOTE_CODE),
        _of_mllm("internvl_native", "InternVL, transformers", internvl.NATIVE),
        _of_mllm("internvl_native_4_51", "InternVL, transformers up to 4.51", internvl.NATIVE_4_51),
        Layout("sam2", "SAM 2 or 2.1", prefixed(sam2.PUBLISHED, "", GROUNDING), (GROUNDING,)),
        Layout("sa2va_hf", "Sa2VA, Hugging Face", _SA2VA_HF, _ALL, is_directory=True),
        Layout("sa2va_xtuner", "Sa2VA, MMEngine/XTuner run", _SA2VA_XTUNER, has_lora=True),
        Layout("own", "this project", _OWN, _ALL, has_lora=True),
    )
}
#: Tensors that the model holds twice, and the name under which they are kept.
TWINS = {GROUNDING + twin: GROUNDING + kept for twin, kept in sam2.TWINS.items()}
#: Each gives advice on unexpected tensors, if its model's folder can explain them.
ADVICE = (sam2.advice,)


def detect(names: Iterable[str], where: str) -> Layout:
    """The layout that explains most names.

    Raises:
        CheckpointError: no layout explains any name.
    """
    names = list(names)
    unexplained = {name: len(plan(names, layout.rules)[1]) for name, layout in LAYOUTS.items()}
    best = min(unexplained, key=lambda name: unexplained[name])
    if unexplained[best] == len(names):
        known = ", ".join(layout.title for layout in LAYOUTS.values())
        raise CheckpointError(
            f"weights {where!r}: names such as {names[0]!r} belong to no known layout. Known layouts: {known}."
        )
    return LAYOUTS[best]

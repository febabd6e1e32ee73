"""The layouts of checkpoints that can be read, and how one is told from another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sa2va_native.checkpoints import key_maps
from sa2va_native.checkpoints.key_maps import Rule, prefixed
from sa2va_native.checkpoints.translate import plan
from sa2va_native.errors import CheckpointError


class Layout(NamedTuple):
    """A way to name the tensors of a checkpoint."""

    name: str
    title: str
    rules: tuple[Rule, ...]
    #: Prefixes of the parts of the model that such a checkpoint holds in full; none where it holds what was trained.
    covers: tuple[str, ...] = ()


#: From the one that holds least to the one that holds most, for :func:`detect`.
LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("internvl", "InternVL, remote code", key_maps.INTERNVL, ("mllm.",)),
        Layout("internvl_native", "InternVL, transformers", key_maps.INTERNVL_NATIVE, ("mllm.",)),
        Layout("internvl_native_4_51", "InternVL, transformers up to 4.51", key_maps.INTERNVL_NATIVE_4_51, ("mllm.",)),
        Layout("sam2", "SAM 2 or 2.1", prefixed(key_maps.SAM2, "", "grounding.sam2."), ("grounding.",)),
        Layout("sa2va_hf", "Sa2VA, Hugging Face", key_maps.SA2VA_HF, ("mllm.", "grounding.", "text_hidden_fcs.")),
        Layout("sa2va_xtuner", "Sa2VA, MMEngine/XTuner run", key_maps.SA2VA_XTUNER),
        Layout("own", "this project", key_maps.OWN, ("mllm.", "grounding.", "text_hidden_fcs.")),
    )
}


def detect(names: Iterable[str], where: str) -> Layout:
    """The layout that explains most names.

    Raises:
        CheckpointError: none explains any.
    """
    names = list(names)
    unexplained = {name: len(plan(names, layout.rules)[1]) for name, layout in LAYOUTS.items()}
    best = min(unexplained, key=lambda name: unexplained[name])
    if unexplained[best] == len(names):
        known = ", ".join(layout.title for layout in LAYOUTS.values())
        raise CheckpointError(
            f"weights {where!r}: names such as {names[0]!r} belong to no known checkpoint. Known are: {known}."
        )
    return LAYOUTS[best]

"""Training on the data at paths given on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sa2va_native.datasets.finding.find_sets import find_mask_sets
from sa2va_native.datasets.finding.text_sets import find_kind_sets
from sa2va_native.errors import ConfigError


class DataRoot(NamedTuple):
    """A path, and what is trained on the sets there."""

    path: str
    #: Kinds with their weights among the sources of a kind; empty for masks of the cycle beside the config's texts.
    kinds: tuple[tuple[str, float], ...] = ()


def use_data_roots(cfg: Any, roots: Sequence[DataRoot]) -> None:
    """Makes the data at ``roots`` the training data.

    Without any kind, the masks there replace the config's ``cycle`` sources, and its other sources stay (see
    :func:`use_masks`). With one, the run trains on the data at ``roots`` and on nothing else; a root without a kind
    gives masks for the cycle. The pattern of kinds keeps its order and shares; a kind that is new to it is added once,
    one without data is left out.

    Args:
        cfg: MMEngine config, changed in place.
        roots: of any sets that :func:`find_kind_sets` finds.

    Raises:
        ConfigError: the config does not train the cycle, and masks for it are given.
        DataError: see :func:`find_kind_sets`.
    """
    if not any(root.kinds for root in roots):
        use_masks(cfg, [root.path for root in roots])
        return
    sampler = cfg.train_dataloader.batch_sampler
    known = [str(kind) for kind in sampler.get("pattern", ())]
    sources = []
    for root in roots:
        for kind, weight in root.kinds or (("cycle", 1.0),):
            if kind == "cycle":
                _require_cycle(cfg, root.path)
            sources += [
                dict(kind=kind, weight=weight, dataset=found.config) for found in find_kind_sets(root.path, kind)
            ]
    kinds = list(dict.fromkeys(str(source["kind"]) for source in sources))
    cfg.train_dataloader.dataset.sources = sources
    sampler.pattern = [kind for kind in known if kind in kinds] + [kind for kind in kinds if kind not in known]


def use_masks(cfg: Any, roots: Sequence[str | Path]) -> None:
    """Makes the masks at ``roots`` the cycle's training data; the other kinds of the mixture stay.

    Every ``kind="cycle"`` source of ``train_dataloader.dataset`` is replaced by one per set that
    :func:`find_mask_sets` finds. The new sources keep the settings of the first one replaced, except its data.

    Args:
        cfg: MMEngine config, changed in place.
        roots: of any set that :func:`find_sets` recognises.

    Raises:
        ConfigError: the config has no cycle source.
        DataError: see :func:`find_mask_sets`.
    """
    _require_cycle(cfg, roots[0])
    sources = cfg.train_dataloader.dataset.sources
    cycle = [source for source in sources if source["kind"] == "cycle"]
    settings = {key: value for key, value in cycle[0].items() if key not in ("dataset", "max_samples")}
    found = [dict(**settings, dataset=one.config) for root in roots for one in find_mask_sets(root)]
    cfg.train_dataloader.dataset.sources = found + [source for source in sources if source["kind"] != "cycle"]


def _require_cycle(cfg: Any, root: str | Path) -> None:
    """Raises a ConfigError if the config does not train on masks without texts."""
    if not any(source["kind"] == "cycle" for source in cfg.train_dataloader.dataset.get("sources", [])):
        raise ConfigError(
            f"--data-root {root}: train_dataloader.dataset.sources has no source of kind 'cycle' to replace. Use a "
            "config that trains on masks, e.g. configs/pseudo_gumbel_tiny.py; or, if the data has texts, --kind refer."
        )

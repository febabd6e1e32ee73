"""Training on the masks at a path given on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sa2va_native.datasets.finding.find_sets import find_mask_sets
from sa2va_native.errors import ConfigError


def use_data_root(cfg: Any, root: str | Path) -> None:
    """Makes the masks at ``root`` the cycle's training data; the other kinds of the mixture stay.

    Every ``kind="cycle"`` source of ``train_dataloader.dataset`` is replaced by one per set that
    :func:`find_mask_sets` finds. The new sources keep the settings of the first one replaced, except its data.

    Args:
        cfg: MMEngine config, changed in place.
        root: of any set that :func:`find_sets` recognises.

    Raises:
        ConfigError: the config has no cycle source.
        DataError: see :func:`find_mask_sets`.
    """
    sources = cfg.train_dataloader.dataset.get("sources", [])
    cycle = [source for source in sources if source["kind"] == "cycle"]
    if not cycle:
        raise ConfigError(
            f"--data-root {root}: train_dataloader.dataset.sources has no source of kind 'cycle' to replace. "
            "Use a config that trains on masks, e.g. configs/pseudo_gumbel_tiny.py."
        )
    settings = {key: value for key, value in cycle[0].items() if key not in ("dataset", "max_samples")}
    found = [dict(**settings, dataset=one.config) for one in find_mask_sets(root)]
    cfg.train_dataloader.dataset.sources = found + [source for source in sources if source["kind"] != "cycle"]

"""The data sets that a tool is given: by a config, or by a path."""

from __future__ import annotations

from typing import Any

from sa2va_native.datasets.check import Region
from sa2va_native.datasets.finding.find_sets import find_sets
from sa2va_native.engine.config.find_config import is_config
from sa2va_native.engine.run.launch import load_config


def sources_of(what: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and adapter config of each source.

    Args:
        what: a config, whose training sources are meant, or data as for ``find_sets``.

    Raises:
        ConfigError, DataError: see ``load_config`` and ``find_sets``.
    """
    if not is_config(what):
        return [(found.name, dict(found.config)) for found in find_sets(what)]
    dataset = load_config(what).train_dataloader.dataset
    return [(source["kind"], dict(source["dataset"])) for source in dataset.sources]


def region_of(what: str) -> Region:
    """The region grid of a config, with the fewest cells that it accepts; for a path, the usual one."""
    if not is_config(what):
        return Region()
    dataset = load_config(what).train_dataloader.dataset
    return Region(
        dataset.transform.grid_size,
        dataset.transform.get("region_pooling", "any"),
        dataset.transform.get("region_min_share", 0.05),
        dataset.get("min_region_cells", 1),
    )

"""The data sets that a tool is pointed at: by a config, or by a path."""

from __future__ import annotations

from typing import Any

from projects.sa2va.datasets.find_sets import find_sets
from projects.sa2va.engine.launch import load_config


def sources_of(what: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and adapter config of each source.

    Args:
        what: a config, whose training sources are meant, or data as of ``find_sets``.

    Raises:
        ConfigError, DataError: see ``load_config`` and ``find_sets``.
    """
    if not what.endswith(".py"):
        return [(found.name, dict(found.config)) for found in find_sets(what)]
    dataset = load_config(what).train_dataloader.dataset
    return [(source["kind"], dict(source["dataset"])) for source in dataset.sources]


def region_of(what: str) -> dict[str, Any]:
    """``grid_size``, ``pooling`` and ``min_share`` of the region grid that a config makes; nothing of a path."""
    if not what.endswith(".py"):
        return {}
    transform = load_config(what).train_dataloader.dataset.transform
    return {
        "grid_size": transform.grid_size,
        "pooling": transform.get("region_pooling", "any"),
        "min_share": transform.get("region_min_share", 0.05),
    }

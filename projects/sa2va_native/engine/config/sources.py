"""The data sets that a tool is given: by a config, or by a path."""

from __future__ import annotations

from typing import Any

from mmengine.registry import DATASETS

from sa2va_native.datasets.check import Region
from sa2va_native.datasets.finding.find_sets import find_sets
from sa2va_native.datasets.indexing.indexed_set import IndexedSet
from sa2va_native.engine.config.config_check import sa2va_config
from sa2va_native.engine.config.find_config import is_config
from sa2va_native.engine.config.values import require_parts
from sa2va_native.engine.run.launch import load_config
from sa2va_native.models.tokenizer import load_tokenizer
from sa2va_native.models.unknown_words import UnknownWords, unknown_words_of


def sources_of(what: str, index_dir: str | None = None) -> list[tuple[str, dict[str, Any]]]:
    """Name and adapter config of each source.

    Args:
        what: a config, whose training sources are meant, or data as for ``find_sets``.
        index_dir: folder for the indices of large sets; None for that of the config, or the set's own.

    Raises:
        ConfigError, DataError: see ``load_config`` and ``find_sets``.
    """
    if not is_config(what):
        sources = [(found.name, dict(found.config)) for found in find_sets(what)]
    else:
        dataset = _training_data(what)
        sources = [(source["kind"], dict(source["dataset"])) for source in dataset.sources]
    for _, config in sources:
        use_index_dir(config, index_dir)
    return sources


def use_index_dir(config: dict[str, Any], index_dir: str | None) -> None:
    """Lets an adapter keep its index in a folder, if it has one; ``config`` is changed in place."""
    named = config["type"]
    adapter = DATASETS.get(named) if isinstance(named, str) else named
    if index_dir is not None and isinstance(adapter, type) and issubclass(adapter, IndexedSet):
        config["index_dir"] = index_dir


def use_index_dirs(cfg: Any, index_dir: str | None) -> None:
    """:func:`use_index_dir` for each training source of a config, which is changed in place."""
    for source in cfg.get("train_dataloader", {}).get("dataset", {}).get("sources", []):
        use_index_dir(source["dataset"], index_dir)


def words_of(what: str) -> UnknownWords | None:
    """What finds the words that the tokenizer of a config does not know; None for a path, or if it knows all."""
    settings = sa2va_config(load_config(what)) if is_config(what) else None
    return unknown_words_of(load_tokenizer(settings["tokenizer"])) if settings else None


def region_of(what: str) -> Region:
    """The region grid of a config, with the fewest cells that it accepts; for a path, the usual one."""
    if not is_config(what):
        return Region()
    dataset = _training_data(what)
    return Region(
        dataset.transform.grid_size,
        dataset.transform.get("region_pooling", "any"),
        dataset.transform.get("region_min_share", 0.05),
        dataset.get("min_region_cells", 1),
    )


def _training_data(config: str) -> Any:
    cfg = load_config(config)
    require_parts(cfg, "train_dataloader")
    return cfg.train_dataloader.dataset

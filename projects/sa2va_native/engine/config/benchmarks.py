"""Benchmarks as the test set of any config: ``configs/benchmarks`` states data and metrics, the config the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sa2va_native.engine.config.find_config import shipped_configs
from sa2va_native.engine.config.reading import read_file
from sa2va_native.errors import ConfigError, did_you_mean

_FOLDER = "benchmarks/"
#: First folder of the paths in the shipped benchmarks.
_DATA = "data"


def use_benchmarks(cfg: Any, names: Sequence[str], data_root: str | None = None) -> None:
    """Makes benchmarks the test set of a config; its transform, batch size and workers stay.

    The name of each source, and so the prefix of its figures, begins with that of its benchmark: ``refcoco/val``. A
    relative ``path`` of a metric, a file that it writes, is put into the work dir.

    Args:
        cfg: MMEngine config, changed in place.
        names: of shipped benchmarks, or paths of configs of one's own.
        data_root: folder in place of the ``data`` that the benchmarks' paths begin with.

    Raises:
        ConfigError: there is no such benchmark, or it has no named sources with metrics.
    """
    sources: list[dict[str, Any]] = []
    metrics: list[dict[str, Any]] = []
    for given in dict.fromkeys(names):
        file = benchmark_file(given)
        benchmark = read_file(file).to_dict()
        if unknown := sorted(benchmark.keys() - {"test_dataloader", "test_evaluator"}):
            raise ConfigError(
                f"benchmark {file}: {', '.join(unknown)} is not for a benchmark to say; it has "
                "test_dataloader.dataset.sources and test_evaluator."
            )
        own_sources, own_metrics = _parts(benchmark, file)
        for entry in (*own_sources, *own_metrics):
            key = "source" if "source" in entry else "name"
            if not entry.get(key):
                raise ConfigError(f"benchmark {file}: {entry} does not say which source it is or scores.")
            entry[key] = f"{file.stem}/{entry[key]}"
        for metric in own_metrics:
            if "path" in metric:
                metric["path"] = str(Path(cfg.work_dir) / metric["path"])
        sources += own_sources if data_root is None else _moved(own_sources, data_root)
        metrics += own_metrics
    cfg.test_dataloader.dataset.sources = sources
    cfg.test_evaluator = metrics


def benchmark_file(given: str) -> Path:
    """The file of a benchmark by its name or path.

    Raises:
        ConfigError: there is none.
    """
    if given.endswith(".py") and Path(given).is_file():
        return Path(given)
    known = {name.removeprefix(_FOLDER): file for name, file in shipped_configs().items() if name.startswith(_FOLDER)}
    if given not in known:
        raise ConfigError(f"--benchmark {given}: there is none of that name. {did_you_mean(given, known)}")
    return known[given]


def limit_samples(cfg: Any, most: int) -> None:
    """Evaluates at most ``most`` samples of each source of the test set, chosen by the data set's seed.

    Raises:
        ConfigError: it is below 1.
    """
    if most < 1:
        raise ConfigError(f"--max-samples must be at least 1, got {most}")
    for source in cfg.test_dataloader.dataset.sources:
        source.max_samples = min(most, source.get("max_samples") or most)


def _parts(benchmark: dict[str, Any], file: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The sources of a benchmark and its metrics."""
    sources = benchmark.get("test_dataloader", {}).get("dataset", {}).get("sources")
    metrics = benchmark.get("test_evaluator")
    if not sources or not metrics:
        raise ConfigError(f"benchmark {file}: expected test_dataloader.dataset.sources and test_evaluator.")
    return sources, metrics


def _moved(value: Any, data_root: str) -> Any:
    """A part of a config, with paths below ``data`` put below ``data_root``."""
    if isinstance(value, dict):
        return {key: _moved(entry, data_root) for key, entry in value.items()}
    if isinstance(value, list):
        return [_moved(entry, data_root) for entry in value]
    if isinstance(value, str) and Path(value).parts[:1] == (_DATA,):
        return str(Path(data_root, *Path(value).parts[1:]))
    return value

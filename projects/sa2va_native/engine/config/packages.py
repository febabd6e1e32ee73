"""Optional packages that a config's choices need: a run without one is refused at once."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

#: A value of some key, the package that it needs, and what to install.
_NEEDED_BY = {
    "flash_attention_2": ("flash_attn", "-r requirements/flash.txt"),
    "SavVideos": ("av", "-r requirements/video.txt"),
    "TensorboardVisBackend": ("tensorboard", "tensorboard"),
    "WandbVisBackend": ("wandb", "wandb"),
    "StepWandbVisBackend": ("wandb", "wandb"),
    "SwanlabVisBackend": ("swanlab", "swanlab"),
    "MLflowVisBackend": ("mlflow", "mlflow"),
    "StepMLflowVisBackend": ("mlflow", "mlflow"),
    "ClearMLVisBackend": ("clearml", "clearml"),
    "NeptuneVisBackend": ("neptune", "neptune"),
    "DVCLiveVisBackend": ("dvclive", "dvclive"),
    "AimVisBackend": ("aim", "aim"),
    "Sa2VADeepSpeedStrategy": ("deepspeed", "deepspeed"),
}


def package_problems(value: Any, path: str = "") -> Iterator[str]:
    """Every choice of a config whose package is not installed, as a sentence.

    Args:
        value: the config as plain dicts and lists, or a part of it.
        path: where that part is.
    """
    if isinstance(value, dict):
        for key, entry in value.items():
            yield from package_problems(entry, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, entry in enumerate(value):
            yield from package_problems(entry, f"{path}[{index}]")
    else:
        name = str(getattr(value, "__name__", value)).rpartition(".")[2]
        package, source = _NEEDED_BY.get(name, ("", ""))
        if package and find_spec(package) is None:
            yield f"config key {path} = {name} needs the package {package}, not installed here: pip install {source}."

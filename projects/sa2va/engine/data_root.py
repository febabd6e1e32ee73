"""Training on the masks of a folder given on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from projects.sa2va.errors import ConfigError, DataError


def find_coco_sets(root: str | Path) -> list[tuple[Path, Path]]:
    """The training sets of a COCO-like folder: ``annotations/instances_NAME.json`` beside pictures.

    The pictures of ``NAME`` are in ``NAME/``, ``images/NAME/``, ``images/`` or the folder itself, whichever
    exists first. Sets called ``*val*`` or ``*test*`` are left out if there are others.

    Returns:
        (json, folder of pictures) of each set, sorted by name.

    Raises:
        DataError: the folder is missing, or nothing in it fits.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"data root {root} is not a folder. Give the folder that holds annotations/.")
    files = sorted((root / "annotations").glob("instances_*.json"))
    if not files:
        raise DataError(
            f"data root {root}: no annotations/instances_*.json. Expected the layout of COCO, e.g. "
            "annotations/instances_train2017.json beside the folder train2017/ of pictures."
        )
    training = [file for file in files if not any(word in file.stem for word in ("val", "test"))]
    return [(file, _pictures(root, file.stem.removeprefix("instances_"))) for file in training or files]


def use_coco_root(cfg: Any, root: str | Path) -> None:
    """Makes the masks under ``root`` the cycle's training data; the other kinds of the mixture stay.

    Every ``kind="cycle"`` source of ``train_dataloader.dataset`` is replaced by one per set that
    :func:`find_coco_sets` finds. The new sources keep the settings of the first one replaced, except its data.

    Args:
        cfg: MMEngine config, changed in place.
        root: COCO-like folder.

    Raises:
        ConfigError: the config has no cycle source.
        DataError: see :func:`find_coco_sets`.
    """
    import projects.sa2va.datasets.coco  # noqa: F401  registers CocoInstances

    sources = cfg.train_dataloader.dataset.get("sources", [])
    cycle = [source for source in sources if source["kind"] == "cycle"]
    if not cycle:
        raise ConfigError(
            f"--data-root {root}: train_dataloader.dataset.sources has no source of kind 'cycle' to replace. "
            "Use a config that trains on masks, e.g. configs/pseudo_gumbel_tiny.py."
        )
    settings = {key: value for key, value in cycle[0].items() if key not in ("dataset", "max_samples")}
    found = [
        dict(**settings, dataset=dict(type="CocoInstances", ann_file=str(file), image_root=str(pictures)))
        for file, pictures in find_coco_sets(root)
    ]
    cfg.train_dataloader.dataset.sources = found + [source for source in sources if source["kind"] != "cycle"]


def _pictures(root: Path, name: str) -> Path:
    candidates = [root / name, root / "images" / name, root / "images"]
    for folder in candidates:
        if folder.is_dir():
            return folder
    if any(root.glob("*.jpg")) or any(root.glob("*.png")):
        return root
    looked = ", ".join(str(folder) for folder in candidates)
    raise DataError(f"no pictures for annotations/instances_{name}.json: looked for the folders {looked}.")

"""The model card of an exported directory: what a stranger must know before using it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sa2va_native.checkpoints.importing import Source
from sa2va_native.errors import DataError
from sa2va_native.models.sam2.published import HIERA_LARGE

_TEMPLATE = """\
---
pipeline_tag: image-text-to-text
tags: [sa2va, referring-segmentation, region-captioning]
license: other
license_name: that-of-the-base-weights
---

# {name}

A grounded multimodal model: it turns an expression into the mask of an object in a picture or clip, and the mask of a
region into a description. It has the architecture of Sa2VA (InternVL and SAM 2, joined by `[SEG]`) and was exported by
pseudo-gumbel.

## Weights

Later ones override earlier ones.

{sources}

## Training

Config `{config}`:

{settings}

{data}

## Results

{metrics}

## How to load

With pseudo-gumbel:

```python
from pseudo_gumbel.load_inference import load_inference

sa2va = load_inference("{folder}")
masks = sa2va.segment_image("picture.jpg", ["the red bus"])
captions = sa2va.caption_regions("picture.jpg", masks)
```

or `pseudo-gumbel infer picture.jpg "the red bus" --model {folder}`.{remote}

## Licence and limits

The code is Apache-2.0. The weights derive from those listed above and from the data they were trained on: their
licences apply. Captions and masks can be wrong. A caption that leads back to its mask need not be true: captioner and
reader can agree on wrong words.
"""
_NO_METRICS = "None are at hand. `pseudo-gumbel test CONFIG CHECKPOINT --out metrics.json` makes them."
_REMOTE_CODE = """ The code that Sa2VA publishes loads it too:
`AutoModel.from_pretrained("{folder}", trust_remote_code=True, torch_dtype="bfloat16")`."""


#: What the model of a supervised config has besides, and ``config.json`` tells.
_OF_THE_BASE = ("mllm", "grounding", "tokenizer", "weights")


def model_card(
    folder: Path, sources: Sequence[Source], config: str, cfg: Mapping[str, Any], metrics: Mapping[str, Any] | None
) -> str:
    """A ``README.md`` in the form of the Hugging Face hub.

    Args:
        folder: of the export; its name is the model's.
        sources: what was exported.
        config: name of the config.
        cfg: what it holds.
        metrics: as :func:`read_metrics` gives them, or None.
    """
    trained = cfg.get("train_dataloader") or {}
    lines = [f"- `{kind}`: {what}" for kind, what in _data(trained.get("dataset") or {})]
    written = _written(folder)
    is_published = "sam2_config" not in written and written.get("sam2_hiera", HIERA_LARGE) == HIERA_LARGE
    return _TEMPLATE.format(
        name=folder.name,
        folder=folder.name,
        config=Path(config).stem,
        sources="\n".join(f"- `{Path(source.path).name}`: {source.layout.title}" for source in sources),
        settings="\n".join(f"- {line}" for line in _settings(cfg)) or "- nothing was trained by it",
        data="Data, by what is learnt from them:\n\n" + "\n".join(lines) if lines else "The config names no data.",
        metrics=_table(metrics) if metrics else _NO_METRICS,
        remote=_REMOTE_CODE.format(folder=folder.name) if is_published else "",
    )


def write_card(card: str, folder: Path) -> None:
    """Writes ``README.md``; one that came along from the base weights is kept as ``README_base.md``."""
    file = folder / "README.md"
    if file.exists():
        file.rename(folder / "README_base.md")
    file.write_text(card, encoding="utf-8")


def read_metrics(file: Path) -> dict[str, Any]:
    """What ``test --out`` wrote.

    Raises:
        DataError: it cannot be read, or is something else.
    """
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: no metrics ({error}). Give what pseudo-gumbel test --out wrote.") from error
    if not isinstance(metrics, dict):
        raise DataError(f"{file}: holds a {type(metrics).__name__}. Give what pseudo-gumbel test --out wrote.")
    return metrics


def metrics_beside(checkpoint: Path) -> dict[str, Any] | None:
    """Those of a checkpoint of a run, if ``metrics.json`` of its work dir says that they are its."""
    file = checkpoint.parent / "metrics.json"
    if not file.is_file():
        return None
    metrics = read_metrics(file)
    return metrics if Path(str(metrics.get("checkpoint"))).name == checkpoint.name else None


def _written(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _settings(cfg: Mapping[str, Any]) -> Iterator[str]:
    """What the model is trained by, part by part, without the base model's own config."""
    model = cfg.get("model") or {}
    for key, value in model.items():
        if key == "type":
            yield f"model: {_shown(value)}"
        elif not (isinstance(value, Mapping) and "mllm" in value) and key not in _OF_THE_BASE:
            yield f"{key}: {_shown(value)}"
    if steps := (cfg.get("train_cfg") or {}).get("max_steps"):
        yield f"steps: {steps}"


def _data(dataset: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for source in dataset.get("sources") or ():
        adapter = {key: value for key, value in (source.get("dataset") or {}).items() if key != "type"}
        given = ", ".join(f"{key} {_shown(value)}" for key, value in adapter.items())
        what = _shown((source.get("dataset") or {}).get("type"))
        yield str(source.get("kind")), f"{what} ({given})" if given else what


def _shown(value: Any) -> str:
    """A value of a config in a few words; of a path the last part, since folders of a machine tell nobody anything."""
    if isinstance(value, Mapping):
        given = ", ".join(f"{key}={_shown(entry)}" for key, entry in value.items() if key != "type")
        return f"{_shown(value['type'])}({given})" if "type" in value else f"({given})"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, str) and "/" in value:
        return Path(value).name
    name = getattr(value, "__name__", None) or str(value)
    return name.rpartition(".")[2] if not isinstance(value, (int, float)) else name


def _table(metrics: Mapping[str, Any]) -> str:
    rows = [(name, value) for name, value in metrics.items() if name != "checkpoint"]
    shown = [f"| `{name}` | {f'{value:.4f}' if isinstance(value, float) else value} |" for name, value in rows]
    return "\n".join(["| metric | |", "|---|---:|", *shown])

#!/usr/bin/env python3
"""Where the time of a cycle step goes: milliseconds of each part and its share of the whole.

python benchmarks/step_parts.py                                    # the tiny model on one CPU thread
python benchmarks/step_parts.py --device cuda --batch-size 16
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS

from projects.sa2va.datasets.collate import collate_batch
from projects.sa2va.paths import ROOT
from projects.sa2va.structures import Draw, DrawKey


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default=str(ROOT / "configs/pseudo_gumbel_tiny.py"))
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=10, help="counted repetitions, after two (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)

    config = Config.fromfile(args.config)
    model = MODELS.build(config.model).to(args.device)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    source = next(source for source in dataset.sources if source.kind == "cycle")
    draws = [Draw(source.start + i, DrawKey(0, i)) for i in range(args.batch_size)]
    batch = model.data_preprocessor.cast_data(collate_batch([dataset[draw] for draw in draws]))["batch"]
    times: dict[str, list[float]] = {}

    def timed(name: str, part: Callable[[], Any]) -> Any:
        _synchronise(args.device)
        start = time.perf_counter()
        result = part()
        _synchronise(args.device)
        times.setdefault(name, []).append(time.perf_counter() - start)
        return result

    for _ in range(args.repeats + 2):
        step(model, batch, timed)
    medians = {name: statistics.median(values[2:]) for name, values in times.items()}
    whole = sum(medians.values())
    for name, seconds in medians.items():
        print(f"{name:<28} {1000 * seconds:8.1f} ms  {seconds / whole:6.1%}")
    print(f"{'one micro-batch':<28} {1000 * whole:8.1f} ms  batch {args.batch_size}, {args.device}")


def step(model: Any, batch: Any, timed: Callable[[str, Callable[[], Any]], Any]) -> None:
    """The cycle as in ``PseudoGumbel.cycle_loss``, part by part."""
    student, side1, side2 = model.student, batch.caption_side, batch.mask_side or batch.caption_side
    pictures1 = timed("look at picture 1", lambda: student.look(side1, grounding=False))
    pictures2 = timed("look at picture 2", lambda: student.look(side2))
    captions = timed("1 teacher captions", lambda: model.teacher_captions(pictures1, side1.region))
    corrupted = timed("2 corrupt", lambda: model.corrupt(captions, batch))
    logits = timed("3 student logits", lambda: model.student_logits(pictures1, side1.region, captions, corrupted))
    words = timed("4 words", lambda: model.words(logits, captions.padded, model.draws(batch, "gumbel")))
    embeds = timed("4 text_embeds", lambda: model.embed_words(words))
    masks = timed("5 mask from text", lambda: model.masks_from_text(pictures2, embeds, captions.lengths, batch))
    losses = timed("6 losses", lambda: model.mask_losses(masks, side2.mask, captions, batch))
    timed("backward", lambda: torch.stack(list(losses.values())).sum().backward())
    model.zero_grad(set_to_none=True)


def _synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()

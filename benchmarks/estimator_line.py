"""The loss on the straight line between two words, drawn; for benchmarks/estimators.py."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.estimator_position import Position
from pseudo_gumbel.gumbel import gumbel_words
from sa2va_native.datasets.scenes.language import COLOURS, SHAPES

STEPS = 17  #: points of the line
DRAWS = 64  #: soft words for each object
TEMPERATURE = 2.0  #: of the soft words


class Lines(NamedTuple):
    """What was found on the lines of N objects."""

    costs: Tensor  #: [N, STEPS], all pixels
    slopes: Tensor  #: [N, 2] d cost / d t at t = 0 and t = 1
    soft: Tensor  #: [N, DRAWS] where soft words stand, as the t of the nearest point of the line


def measure_lines(positions: Iterable[Position]) -> Lines:
    """Goes from the captioner's likeliest word (t = 0) to the true one (t = 1), where it is a wrong colour or shape."""
    found = [_of_group(position) for position in positions]
    return Lines(*(torch.cat(column) for column in zip(*found, strict=True)))


def _of_group(position: Position) -> Lines:
    embedding, prompts = position.student.embedding, position.student.prompts
    said = position.log_p.argmax(-1)
    true = said.clone()
    for row, attributes in enumerate(position.batch.attributes):
        word = prompts.decode([int(said[row])]).strip()
        for name, words in (("colour", COLOURS), ("shape", SHAPES)):
            if word in words:
                true[row] = prompts.encode(f" {attributes[name]}")[0]  # a space before it, as within a caption
    apart = said != true
    with torch.no_grad():
        start, end = embedding(said), embedding(true)
    way = end - start
    t = torch.linspace(0, 1, STEPS)
    points = start[:, None] + t[None, :, None] * way[:, None]
    costs = position.read(points.flatten(0, 1), gradient=False)
    slopes = position.slopes(torch.stack([start, end], 1).flatten(0, 1))[1]
    along = (slopes[-1].unflatten(0, (-1, 2)) * way[:, None]).sum(-1)

    generators = [torch.Generator().manual_seed(key.sample) for key in position.batch.keys]
    words = gumbel_words(
        position.log_p[:, None], generators, temperature=TEMPERATURE, top_k=64, straight_through=False, draws=DRAWS
    )
    with torch.no_grad():
        mixtures = torch.einsum("nk,nkd->nd", words.weights[:, 0], embedding(words.candidates[:, 0]))
        mixtures = mixtures.unflatten(0, (-1, DRAWS)) - start[:, None]
        soft = (mixtures * way[:, None]).sum(-1) / way.square().sum(-1).clamp(min=1e-12)[:, None]
    return Lines(costs[-1].unflatten(0, (-1, STEPS))[apart], along[apart], soft[apart])


def draw_line(bases: dict[str, Lines], file: Path) -> None:
    """A column for each base: the mean loss, single objects' losses, the slope, and where soft words stand."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    blue, red, grey, green = "#1f4e79", "#c8442b", "#9aa5b1", "#2f7d5b"
    t = torch.linspace(0, 1, STEPS)
    figure, panels = pyplot.subplots(
        3, len(bases), figsize=(5.6 * len(bases), 7.6), sharex=True, sharey="row", squeeze=False,
        gridspec_kw=dict(height_ratios=(3, 1.3, 1)),
    )  # fmt: skip
    for (loss, slope, soft), (name, lines) in zip(panels.T, bases.items(), strict=True):
        mean, rise = lines.costs.mean(0), lines.slopes.mean(0)
        for one in lines.costs[:: max(1, len(lines.costs) // 12)]:
            loss.plot(t, one, color=grey, lw=0.8, alpha=0.6, zorder=1)
        loss.plot(t, mean, color=blue, lw=2.6, zorder=3, label=f"mean of {len(lines.costs)} objects")
        for end, place in ((0, 0.0), (-1, 1.0)):
            reach = torch.tensor([0.0, 0.22]) if end == 0 else torch.tensor([-0.22, 0.0])
            loss.plot(
                place + reach, mean[end] + rise[end] * reach, color=red, lw=2.4, zorder=4,
                label="straight-through: the slope at a word" if end == 0 else None,
            )  # fmt: skip
        loss.plot(
            [0, 1], [mean[0], mean[-1]], "o", ms=9, color=green, zorder=5, label="word trials: the values at the words"
        )
        loss.annotate(
            f"difference {mean[-1] - mean[0]:+.2f}\nslope at t = 0 {rise[0]:+.2f}", (0, 0), (0.97, 0.62),
            textcoords="axes fraction", fontsize=9, ha="right", annotation_clip=False,
        )  # fmt: skip
        loss.set_title(f"{name} base", fontsize=11)
        loss.grid(alpha=0.25)
        slope.plot((t[1:] + t[:-1]) / 2, mean.diff() * (STEPS - 1), color=blue, lw=2)
        slope.axhline(float(mean[-1] - mean[0]), color=green, lw=1.2, ls="--", label="difference of the values")
        slope.plot([0, 1], rise, "o", ms=7, color=red)
        slope.grid(alpha=0.25)
        soft.hist(lines.soft.flatten().clamp(0, 1).numpy(), bins=20, range=(0, 1), color=grey, density=True)
        soft.set_xlabel("t: from the captioner's word (0) to the true word (1)")
        soft.set_yticks([])
    top = torch.cat([lines.costs for lines in bases.values()]).quantile(0.97)
    panels[0, 0].set_ylim(0, 1.1 * float(top))
    panels[0, 0].set_ylabel("cost of the mask (all pixels)")
    panels[1, 0].set_ylabel("slope of the mean")
    panels[2, 0].set_ylabel(f"soft words,\ntau {TEMPERATURE:g}")
    panels[0, 0].legend(fontsize=8.5, loc="upper right")
    panels[1, 0].legend(fontsize=8.5, loc="lower right")
    figure.tight_layout()
    figure.savefig(file, dpi=110, metadata={"Software": None})
    pyplot.close(figure)

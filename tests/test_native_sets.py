"""Every adapter's set in its native layout through training on two ranks: with each fault, and clean."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from sa2va_native.datasets.mixture import KINDS, MixtureDataset
from sa2va_native.datasets.samplers import MixtureBatchSampler
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.files.paths import ROOT
from sa2va_native.structures import Batch, Kind
from tests.ranks import run_ranks
from tests.sa2va_native.datasets.faults import SETS, NativeSet, write_set

RANKS, BATCH = 2, 16  #: samples a rank
PATTERN: tuple[Kind, ...] = ("cycle", "refer", "cycle", "caption")


class Step(NamedTuple):
    """One micro-step of a rank."""

    kind: Kind
    samples: list[tuple[str, str]]  #: source and id
    losses: list[float]


def train(sources: list[dict[str, Any]], iterations: int, work_dir: str, max_bad_samples: int) -> list[Step]:
    """A run of the tiny config on these sources, under ZeRO-2; what this rank trained on."""
    from pseudo_gumbel.model import PseudoGumbel

    cfg = launch.load_config(str(ROOT / "configs/pseudo_gumbel_tiny.py"), None, work_dir)
    cfg.train_dataloader.dataset.update(sources=sources, max_bad_samples=max_bad_samples)
    cfg.train_dataloader.batch_sampler.pattern = PATTERN
    cfg.train_dataloader.update(batch_size=BATCH, num_workers=1)
    cfg.train_cfg.max_steps = -(-iterations // cfg.optim_wrapper.accumulative_counts)
    cfg.launcher = "pytorch"
    launch.use_checkpoint(cfg, None, None)
    use_deepspeed(cfg, "zero2", "fp32")
    steps, forward = [], PseudoGumbel.forward

    def watched(model: PseudoGumbel, batch: Batch, mode: str = "tensor") -> Any:
        result = forward(model, batch, mode)
        losses = [float(value) for name, value in result.items() if name.startswith("loss")]
        steps.append(Step(batch.kind, list(zip(batch.sources, batch.sample_ids, strict=True)), losses))
        return result

    PseudoGumbel.forward = watched  # type: ignore[method-assign]
    launch.build_runner(cfg).train()
    return steps


def weighed(sources: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each as often as it has items, so that all of them have been drawn soon."""
    mixture = MixtureDataset(sources, transform=None)
    return [{**source, "weight": len(one.items)} for source, one in zip(sources, mixture.sources, strict=True)]


def iterations_until_all_drawn(sources: list[dict[str, Any]]) -> int:
    mixture = MixtureDataset(sources, transform=None)
    sampler = MixtureBatchSampler(SimpleNamespace(dataset=mixture), RANKS * BATCH, PATTERN, rank=0, world_size=1)
    waiting = set(range(len(mixture)))
    for iteration, draws in enumerate(sampler, start=1):
        waiting -= {draw.item for draw in draws}
        if not waiting:
            return iteration
    raise AssertionError("the sampler ended")


def check_steps(ranks: list[list[Step]]) -> None:
    """In step: the same kinds on all ranks, full batches, sound losses."""
    assert len({tuple(step.kind for step in steps) for steps in ranks}) == 1
    for steps in ranks:
        assert all(len(step.samples) == BATCH for step in steps)
        losses = np.concatenate([step.losses for step in steps])
        assert np.isfinite(losses).all()
        assert losses.max() > 0


def report_of(work_dir: Path) -> str:
    """The line in which a run says what it could not use."""
    (log,) = work_dir.rglob("*.log")
    (line,) = re.findall("Samples that could not be used.*", log.read_text())
    return line


def run_all(tmp_path: Path, faults: bool) -> tuple[dict[str, NativeSet], list[list[Step]]]:
    sets = {name: write_set(name, tmp_path / name, faults) for name in SETS}
    sources = weighed([dict(kind=SETS[name].kind, name=name, dataset=native.config) for name, native in sets.items()])
    assert {source["kind"] for source in sources} == set(KINDS)
    bad = sum(len(native.bad) for native in sets.values())
    (tmp_path / "work").mkdir()
    arguments = (sources, iterations_until_all_drawn(sources), str(tmp_path / "work"), bad)
    ranks = run_ranks(RANKS, train, *arguments, timeout=500)
    check_steps(ranks)
    trained = Counter(sample for steps in ranks for step in steps for sample in step.samples)
    assert set(trained) == {(name, sample_id) for name, native in sets.items() for sample_id in native.sound}
    return sets, ranks


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Image size")
def test_every_set_trains_on_two_ranks_and_every_bad_record_is_named(tmp_path: Path) -> None:
    """Red when an adapter's samples do not fit the transform, the collation or the model, or a bad record gets lost,
    is named twice, stops the run, runs code or lets the ranks run apart.
    """
    sets, _ = run_all(tmp_path, faults=True)
    lines = [json.loads(line) for line in (tmp_path / "work/bad_samples.jsonl").read_text().splitlines()]
    named = Counter((line["path"], line["record"], line["rank"]) for line in lines)
    assert max(named.values()) == 1
    assert {(os.path.relpath(path, tmp_path), record) for path, record, _ in named} == {
        (f"{name}/{path}", record) for name, native in sets.items() for path, record in native.bad
    }
    by_rank = Counter(rank for _, _, rank in named)
    assert f"bad [{by_rank[0]}, {by_rank[1]}], too few region cells [0, 0], no mask pixel [0, 0]" in report_of(
        tmp_path / "work"
    )
    assert not any(native.trace.exists() for native in sets.values()), "code was executed"


@pytest.mark.slow
def test_clean_sets_of_all_kinds_lose_no_sample(tmp_path: Path) -> None:
    """Masks, expressions and captions mixed, with sentences that hold ``[SEG]`` and the like.

    Red when a sample without a prompt, a mask or exactly one ``[SEG]`` is left out or stops the run.
    """
    _, ranks = run_all(tmp_path, faults=False)
    assert report_of(tmp_path / "work") == (
        "Samples that could not be used, by rank: bad [0, 0], too few region cells [0, 0], no mask pixel [0, 0]."
    )
    assert not (tmp_path / "work/bad_samples.jsonl").exists()
    assert all(loss > 0 for steps in ranks for step in steps for loss in step.losses)

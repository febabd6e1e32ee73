"""The diagnosis of tiny models: what it looks at, and on three bases what it concludes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS

from pseudo_gumbel.cli import diagnose_cycle
from pseudo_gumbel.diagnosis.diagnose import Diagnosis, Options
from pseudo_gumbel.diagnosis.figures import Figures
from pseudo_gumbel.diagnosis.objects import draw_objects, in_batches
from pseudo_gumbel.diagnosis.readings import in_place_of_own, reading, text_words
from pseudo_gumbel.diagnosis.report import table
from pseudo_gumbel.diagnosis.rules import recommend
from pseudo_gumbel.step import Captions, CycleStep
from sa2va_native.datasets.adapters.scenes import SceneMasks
from sa2va_native.datasets.collate import collate_batch
from sa2va_native.datasets.mixture import Item
from sa2va_native.engine.run import launch
from sa2va_native.errors import ConfigError
from sa2va_native.files.paths import ROOT
from sa2va_native.parallel.parameters import trainable_parameters
from sa2va_native.structures import Draw, DrawKey
from tests.tiny import QWEN3

QUICK = Options(samples=1, draws=1, probe_steps=2, probe_objects=8)


def built(**overrides: Any) -> Any:
    """The model that is diagnosed."""
    config = Config.fromfile(ROOT / "configs/_base_/models/sa2va_tiny.py").model
    config.update(overrides)
    return MODELS.build(in_place_of_own(config))


def data(**source: Any) -> Any:
    dataset = dict(launch.load_config("pseudo_gumbel_tiny").train_dataloader.dataset, report_file=None)
    return DATASETS.build({**dataset, "sources": [source]} if source else dataset)


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return draw_objects(data(), 3)


def test_objects_with_masks_alone_and_with_text(items: list[Item]) -> None:
    """Red when a group is missing, or a batch mixes objects with and without a text."""
    assert [one.kind for one in items] == ["cycle"] * 6
    assert [one.text is None for one in items] == [True] * 3 + [False] * 3
    assert all(str(one.text).startswith("a ") for one in items[3:]), "the caption that a scene's attributes make"
    assert len({one.sample_id for one in items}) == 6
    assert [[one.text is None for one in batch] for batch in in_batches(items, 2)] == [
        [True, True],
        [True],
        [False, False],
        [False],
    ]
    with pytest.raises(ConfigError, match="--objects 1"):
        draw_objects(data(), 1)


def test_a_look_reads_each_word_as_the_model_does_and_changes_nothing(items: list[Item]) -> None:
    """Red when swaps of one object are read on another one's picture, or weights, modes or gradients stay changed."""
    model = built()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.train()
    diagnosis = Diagnosis(model, QUICK)
    for batch in in_batches(items, 3):
        diagnosis.look(batch)
    seen = diagnosis.seen
    assert len(seen.greedy_iou) == len(seen.costs) == len(seen.soft) == len(seen.sampled_iou) == 6
    assert len(seen.floor_iou) == 5, "the first object has no caption before it"
    assert len(seen.human_costs) == len(seen.greedy_of_human_iou) == 3
    for greedy, tried in zip(seen.greedy_iou, seen.ious, strict=True):
        assert tried[0] == pytest.approx(greedy, abs=1e-5), "the first word is the caption's own"
    step = model.begin(collate_batch(items[:3])["batch"])
    model.eval()
    step.captions = model.teacher_captions(step.pictures1, step.side1.region)
    with torch.no_grad():
        for row, ids in enumerate(step.captions.ids):
            drawn = as_the_student_segments(model.student, step, row, ids) > 0
            true = step.side2.mask[row] > 0
            assert float((drawn & true).sum() / (drawn | true).sum()) == pytest.approx(seen.greedy_iou[row], abs=1e-3)
    model.train()
    diagnosis.better = (diagnosis.better * 4)[:4]
    (first, *_) = diagnosis.figures(launch.load_config("pseudo_gumbel_tiny")).probes
    assert first.after > first.before
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(param.grad is None for param in model.parameters())


def as_the_student_segments(student: Any, step: CycleStep, row: int, ids: torch.Tensor) -> torch.Tensor:
    """Mask logits [h, w] of one text, asked as an expression of its own."""
    question, answer = student.choose_wording(step.batch.keys[row])
    prompt = torch.cat([student.prompts.ask_segment(ids, question), student.prompts.answer_segment(answer)])
    embedded = student.prompts.embed(
        student.embedding, [prompt], [student.visual_tokens(step.pictures2.vision)[row]]
    )  # fmt: skip
    return student.mask_from(student.hidden_states(embedded), embedded.ids, step.pictures2.of([row])).mask_logits[0]


def test_better_captions_are_those_whose_word_costs_less(items: list[Item]) -> None:
    """Read again as they are. Red when a text of another object or word is kept for the probe."""
    diagnosis = Diagnosis(built(), QUICK)
    diagnosis.look(items[:3])
    assert diagnosis.better
    for better in diagnosis.better:
        (row,) = (i for i, one in enumerate(items[:3]) if one is better.item)
        step = diagnosis.model.begin(collate_batch([better.item])["batch"])
        step.captions = Captions([better.ids], [True])
        read = reading(diagnosis.model, step, text_words([better.ids], step.side1.region.device))
        cheapest = min(cost for cost in diagnosis.seen.costs[row] if cost == cost)
        assert float(read.cost) == pytest.approx(cheapest, abs=1e-3)


def test_an_untrained_model_of_another_family_is_diagnosed(items: list[Item]) -> None:
    """Red when Qwen3, an empty caption or a random one ends in a traceback."""
    torch.manual_seed(0)
    config = Config.fromfile(ROOT / "configs/_base_/models/sa2va_tiny.py").model
    config.mllm.text_config.update(QWEN3)
    model = built(weights=None, mllm=config.mllm)
    diagnosis = Diagnosis(model, QUICK)
    diagnosis.look(items[3:])
    found = recommend(diagnosis.figures(launch.load_config("sa2va_tiny")), "sa2va_tiny", None)
    assert "the reader cannot tell words apart" in found.lines[0]


def test_captions_without_a_word_are_left_out_of_the_words(items: list[Item], monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when an empty caption ends in a traceback, or its readings count as words."""
    model = built()
    nothing = torch.zeros(0, dtype=torch.long)
    said = model.student.caption
    for silent in ({0}, {0, 1}):

        def caption(*inputs: Any, silent: set[int] = silent) -> list[tuple[torch.Tensor, bool]]:
            return [(nothing, True) if i in silent else one for i, one in enumerate(said(*inputs))]

        monkeypatch.setattr(model.student, "caption", caption)
        diagnosis = Diagnosis(model, QUICK)
        diagnosis.look(items[:2])
        assert len(diagnosis.seen.greedy_iou) == 2
        assert len(diagnosis.seen.costs) == len(diagnosis.seen.fall) == 2 - len(silent)


def test_the_command_prints_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Red when the command no longer fits the config, or a figure is missing from the file."""
    file = tmp_path / "out" / "figures.json"
    options = ("--objects", "2", "--samples", "0", "--probe-steps", "0", "--json", str(file))
    diagnose_cycle.main(["sa2va_tiny", *options])
    shown = capsys.readouterr().out
    assert "Head-room: IoU of caption -> mask" in shown
    assert "Recommendation" in shown
    written = json.loads(file.read_text())
    assert written["figures"].keys() == Figures.__dataclass_fields__.keys()
    assert written["recommendation"]["lines"]


def train_on_captions(model: Any, steps: int, lr: float, rows: int = 16) -> None:
    """Language loss on the true captions of the labelled scenes."""
    labelled = data(kind="caption", dataset=dict(type=SceneMasks, split="labelled", text_key="caption"))
    order = torch.randperm(len(labelled), generator=torch.Generator().manual_seed(0)).tolist()

    def batches() -> Iterator[Any]:
        for step in range(steps):
            items = [labelled[Draw(order[step * rows + i], DrawKey(step, i))] for i in range(rows)]
            yield collate_batch(items)["batch"]

    params = list(trainable_parameters(model).values())
    optimizer = torch.optim.AdamW(params, lr=lr, weight_decay=0.05, eps=1e-6)
    for step, batch in enumerate(batches()):
        optimizer.param_groups[0]["lr"] = lr * min(1.0, (step + 1) / 10)
        model(batch, mode="loss")["loss_lm"].backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        optimizer.zero_grad()


def conclusion_of(model: Any, count: int = 32) -> tuple[Any, Figures]:
    diagnosis = Diagnosis(model, Options(samples=0))
    for batch in in_batches(draw_objects(data(), count), 8):
        diagnosis.look(batch)
    figures = diagnosis.figures(launch.load_config("pseudo_gumbel_tiny"))
    print(table(figures))  # pytest -s shows it; docs/diagnosis.md has it
    return recommend(figures, "pseudo_gumbel_tiny", "StraightThroughGumbel"), figures


@pytest.mark.slow
def test_the_shipped_base_needs_word_trials_and_a_higher_rate() -> None:
    """As training runs found: only trials teach it colours, at 1e-3 and not at 1e-4."""
    found, figures = conclusion_of(built())
    assert (found.word_trials, found.soft_gumbel, found.specified) == (True, False, False), found.lines
    assert not found.moves
    assert found.raise_lr_to == pytest.approx(1e-3)
    assert figures.p_best < 0.25


@pytest.mark.slow
def test_nothing_helps_a_base_whose_captions_are_true() -> None:
    """Red when a run is recommended for a captioner that already says what the reader needs."""
    torch.manual_seed(0)
    model = built()
    train_on_captions(model, steps=40, lr=3e-3)
    found, _ = conclusion_of(model)
    assert (found.word_trials, found.soft_gumbel, found.specified) == (False, False, False), found.lines
    assert "there is no head-room" in found.lines[0]

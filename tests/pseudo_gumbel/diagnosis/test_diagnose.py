"""The diagnosis of tiny models: what it looks at, and on three bases what it concludes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import DATASETS

from pseudo_gumbel.cli import diagnose_cycle
from pseudo_gumbel.diagnosis.diagnose import Diagnosis, Options
from pseudo_gumbel.diagnosis.figures import Figures
from pseudo_gumbel.diagnosis.objects import Object, draw_objects
from pseudo_gumbel.diagnosis.rules import recommend
from sa2va_native.datasets.adapters.scenes import SceneMasks
from sa2va_native.datasets.collate import collate_batch
from sa2va_native.engine.run import launch
from sa2va_native.errors import ConfigError
from sa2va_native.parallel.parameters import trainable_parameters
from sa2va_native.structures import Draw, DrawKey
from tests.tiny import tiny_pseudo_gumbel, tiny_qwen3

QUICK = Options(rows=24, samples=1, draws=1, probe_steps=2, probe_objects=8)


def data(**source: Any) -> Any:
    dataset = dict(launch.load_config("pseudo_gumbel_tiny").train_dataloader.dataset, report_file=None)
    return DATASETS.build({**dataset, "sources": [source]} if source else dataset)


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    return draw_objects(data(), 6)


def test_objects_with_masks_alone_and_with_text(objects: list[Object]) -> None:
    """Red when a group is missing, a picture's other objects are not found, or one of them is the object itself."""
    assert len(objects) == 12
    assert [one.item.kind for one in objects] == ["cycle"] * 6 + ["refer"] * 6
    assert [one.text is None for one in objects] == [True] * 6 + [False] * 6
    assert all(str(one.text).startswith("a ") for one in objects[6:]), "the caption that a scene's attributes make"
    for one in objects:
        own = (one.item.sides.mask_side or one.item.sides.caption_side).mask > 0
        assert len(one.others) == 2
        assert not (one.others & own).flatten(1).all(1).any()
    with pytest.raises(ConfigError, match="--objects 1"):
        draw_objects(data(), 1)


def test_a_look_reads_each_word_as_the_model_does_and_changes_nothing(objects: list[Object]) -> None:
    """Red when swaps of one object are read on another one's picture, or weights, modes or gradients stay changed."""
    model = tiny_pseudo_gumbel()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.train()
    diagnosis = Diagnosis(model, QUICK)
    diagnosis.look(objects[:3])
    diagnosis.look(objects[6:9])
    seen = diagnosis.seen
    assert len(seen.greedy_iou) == len(seen.costs) == 6
    assert len(seen.floor_iou) == 5
    assert len(seen.human_costs) == 3
    for greedy, tried in zip(seen.greedy_iou, seen.ious, strict=True):
        assert tried[0] == pytest.approx(greedy, abs=1e-5), "the first word is the caption's own"
    batch = collate_batch([one.item for one in objects[:3]])["batch"]
    step = model.begin(batch)
    model.eval()
    step.captions = model.teacher_captions(step.pictures1, step.side1.region)
    for row, ids in enumerate(step.captions.ids):
        question, answer = model.student.choose_wording(batch.keys[row])
        prompt = torch.cat(
            [model.student.prompts.ask_segment(ids, question), model.student.prompts.answer_segment(answer)]
        )
        tokens = model.student.visual_tokens(step.pictures2.vision)[row]
        embedded = model.student.prompts.embed(model.student.embedding, [prompt], [tokens])
        hidden = model.student.hidden_states(embedded)
        drawn = model.student.mask_from(hidden, embedded.ids, step.pictures2.of([row])).mask_logits[0] > 0
        true = step.side2.mask[row] > 0
        assert float((drawn & true).sum() / (drawn | true).sum()) == pytest.approx(seen.greedy_iou[row], abs=1e-3)
    model.train()
    cfg = launch.load_config("pseudo_gumbel_tiny")
    diagnosis.better = (diagnosis.better * 4)[:4]
    (first, *_) = diagnosis.probe_rates(cfg)
    assert first.after > first.before
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(param.grad is None for param in model.parameters())


def test_an_untrained_model_of_another_family_is_diagnosed(objects: list[Object]) -> None:
    """Red when a bare Sa2VA, Qwen3, an empty caption or a random one ends in a traceback."""
    diagnosis = Diagnosis(tiny_qwen3(), QUICK)
    diagnosis.look(objects[4:8])
    assert "the reader cannot tell words apart" in recommend(diagnosis.figures(100)).lines[0]


def test_the_command_prints_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Red when the command no longer fits the config, or a figure is missing from the file."""
    file = tmp_path / "out" / "figures.json"
    options = ("--objects", "2", "--samples", "1", "--probe-steps", "0", "--json", str(file))
    diagnose_cycle.main(["pseudo_gumbel_tiny", *options])
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
    diagnosis = Diagnosis(model, Options(samples=1))
    objects = draw_objects(data(), count)
    for start in range(0, len(objects), 6):
        diagnosis.look(objects[start : start + 6])
    cfg = launch.load_config("pseudo_gumbel_tiny")
    figures = diagnosis.figures(cfg.train_cfg.max_steps, diagnosis.probe_rates(cfg))
    return recommend(figures), figures


@pytest.mark.slow
def test_the_shipped_base_needs_word_trials_and_a_higher_rate() -> None:
    """As training runs found: only trials teach it colours, at 1e-3 and not at 1e-4."""
    found, figures = conclusion_of(tiny_pseudo_gumbel())
    assert (found.word_trials, found.soft_gumbel, found.specified) == (True, False, False), found.lines
    assert not found.moves
    assert found.raise_lr_to == pytest.approx(1e-3)
    assert figures.p_best < 0.25


@pytest.mark.slow
def test_nothing_helps_a_base_whose_captions_are_true() -> None:
    """Red when a run is recommended for a captioner that already says what the reader needs."""
    model = tiny_pseudo_gumbel()
    train_on_captions(model, steps=40, lr=3e-3)
    found, _ = conclusion_of(model)
    assert (found.word_trials, found.soft_gumbel, found.specified) == (False, False, False), found.lines
    assert "there is no head-room" in found.lines[0]

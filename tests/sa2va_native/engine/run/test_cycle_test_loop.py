"""The readings that a cycle IoU is compared with, on the tiny model and generated scenes."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from pseudo_gumbel.cli.test import use_controls
from sa2va_native.datasets.scenes.language import caption_of
from sa2va_native.datasets.scenes.scene_set import write_scene_set
from sa2va_native.engine.checkpoints.other_weights import OtherWeights
from sa2va_native.engine.run import launch
from sa2va_native.errors import CheckpointError, ConfigError
from sa2va_native.evaluation.controls import CONTROLS, exchange_captions
from sa2va_native.evaluation.prediction_writer import PredictionWriter
from sa2va_native.evaluation.segmentation import intersection_union
from sa2va_native.files.paths import ROOT
from sa2va_native.parallel.parameters import trainable_parameters
from sa2va_native.parallel.process_group import init_cpu_process_group
from sa2va_native.parallel.unwrap import unwrap_model
from tests.ranks import run_ranks
from tests.tiny import tiny_sa2va

SIZES = {"labelled": 2, "mask_only": 2, "test": 3}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene_set(tmp_path_factory.mktemp("data") / "scenes", sizes=SIZES)


class Keep:
    """A metric that keeps the results of the model."""

    def __init__(self) -> None:
        self.samples: dict[tuple[str, str, str], dict[str, Any]] = {}

    def process(self, data_batch: Any, data_samples: list[dict[str, Any]]) -> None:
        for sample in data_samples:
            key = sample["source"], sample["kind"], sample["sample_id"]
            assert key not in self.samples or sample["kind"] == "refer"
            self.samples[key] = sample

    def evaluate(self, size: int) -> dict[str, float]:
        return {}


def runner_of(
    scenes: Path, work_dir: Path, controls: Any = CONTROLS, stranger: Any = None, config: str = "pseudo_gumbel_tiny"
) -> Any:
    """A runner for evaluation; 9 objects of ``test`` in batches of 4, so that ranks have different numbers."""
    cfg = launch.load_config(str(ROOT / f"configs/{config}.py"), None, str(work_dir))
    for source in cfg.test_dataloader.dataset.sources:
        source.dataset.update(root=str(scenes), settings=dict(sizes=SIZES))
        source.max_samples = 9 if source.kind == "cycle" else 1
    cfg.test_dataloader.batch_size = 4
    cfg.test_dataloader.dataset.sources = cfg.test_dataloader.dataset.sources[:2]
    cfg.test_evaluator = [metric for metric in cfg.test_evaluator if metric.source == "test"]
    for key in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler"):
        cfg.pop(key)
    use_controls(cfg, controls, stranger)
    return launch.build_runner(cfg)


def results_of(runner: Any) -> tuple[dict[str, float], dict[tuple[str, str, str], dict[str, Any]]]:
    keep = Keep()
    runner._test_loop = runner.build_test_loop(runner._test_loop)
    runner.test_loop.evaluator.metrics.append(keep)
    return runner.test(), keep.samples


def shake(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Trains, so to speak; returns a copy of every tensor."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for param in trainable_parameters(model).values():
            param.add_(0.02 * torch.randn(param.shape, generator=draw))
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.fixture(scope="module")
def trained(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Metrics and samples of a trained model, its weights before the evaluation, and its runner."""
    runner = runner_of(scenes, tmp_path_factory.mktemp("work"))
    before = shake(unwrap_model(runner.model))
    metrics, samples = results_of(runner)
    return metrics, samples, before, runner


def cycles(samples: dict) -> list[dict[str, Any]]:
    return [sample for (_, kind, _), sample in samples.items() if kind == "cycle"]


def test_the_model_has_its_own_weights_back(trained: Any) -> None:
    """Bit for bit. Red when the stranger's weights are left in the model that is saved or trained on."""
    _, _, before, runner = trained
    after = unwrap_model(runner.model).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_readings_equal_those_made_by_hand(trained: Any) -> None:
    """One picture at a time: the true captions and the others' captions by the model, the own ones by the base.

    Red when rows of a batch, pictures or readers are mixed up. Sums of another batch size may turn single pixels.
    """
    metrics, samples, _, runner = trained
    model, base = unwrap_model(runner.model).student, tiny_sa2va().eval()
    dataset, loader = runner.test_dataloader.dataset, runner.test_dataloader
    own, found = {}, []
    for source in dataset.sources:
        if source.kind != "cycle":
            continue
        place = range(source.start, source.start + len(source.items))
        items = [dataset[item] for item in place]
        of_source = [samples[source.name, "cycle", item.sample_id] for item in items]
        others = exchange_captions({at: one["caption"] for at, one in zip(place, of_source, strict=True)}, 0)
        for at, item, sample in zip(place, items, of_source, strict=True):
            side = loader.collate_fn([item])["batch"].caption_side
            size = [sample["gt_mask"].shape]
            for name, reader, text in (
                ("own", model, sample["caption"]),
                ("floor", model, others[at]),
                ("ceiling", model, caption_of(sample["attributes"])),
                ("stranger", base, sample["caption"]),
            ):
                (mask,) = reader.read(reader.encode_pictures(side), [text], size)
                pair = intersection_union(mask, sample["gt_mask"])
                found.append(max(abs(a - b) for a, b in zip(pair, sample["readings"][name], strict=True)))
                total = own.setdefault(f"{source.name}/cycle_{name.replace('own', 'iou')}", [0, 0])
                total[:] = total[0] + pair[0], total[1] + pair[1]
    assert max(found) <= 20
    for name, (intersection, union) in own.items():
        assert metrics[name] == pytest.approx(intersection / union, abs=2e-3), name
    readings = [sample["readings"] for sample in cycles(samples)]
    assert any(one["own"] != one["stranger"] for one in readings), "the test would show nothing"
    assert any(one["own"] != one["floor"] for one in readings)


def test_a_stranger_with_the_same_weights_reads_the_same(scenes: Path, tmp_path: Path) -> None:
    """Bit for bit; with equal tensors exchanged as well. Red when a reader sees other pictures, rows or modes."""
    runner = runner_of(scenes, tmp_path, ["stranger"], config="sa2va_tiny")
    metrics, samples = results_of(runner)
    assert all(sample["readings"]["own"] == sample["readings"]["stranger"] for sample in cycles(samples))
    assert metrics["test/cycle_code"] == 0
    assert "test/cycle_floor" not in metrics


def test_without_controls_nothing_more_is_read(scenes: Path, tmp_path: Path) -> None:
    """Red when every evaluation pays for readings that nobody asked for, or when its figures change."""
    runner = runner_of(scenes, tmp_path, None, config="sa2va_tiny")
    model = unwrap_model(runner.model)
    with patch.object(model, "encode_pictures", wraps=model.encode_pictures) as encode:
        metrics, samples = results_of(runner)
    assert encode.call_count == len(runner.test_dataloader)
    assert not any("readings" in sample for sample in samples.values())
    assert not any("floor" in name for name in metrics)


def test_an_empty_caption_leads_nowhere(scenes: Path, tmp_path: Path) -> None:
    """Whatever mask the model would draw for no words. Red when silence scores."""
    runner = runner_of(scenes, tmp_path, config="sa2va_tiny")
    model = unwrap_model(runner.model)
    silent = [(torch.empty(0, dtype=torch.long), True)]
    with patch.object(model, "caption", lambda pictures, region: silent * len(region)):
        metrics, samples = results_of(runner)
    assert {sample["caption"] for sample in cycles(samples)} == {""}
    assert [metrics[f"test/cycle_{name}"] for name in ("iou", "giou", "floor", "stranger")] == [0, 0, 0, 0]
    assert metrics["test/cycle_ceiling"] > 0.1
    batch = runner.test_dataloader.collate_fn([runner.test_dataloader.dataset[0]] * 3)["batch"]
    pictures = model.encode_pictures(batch.caption_side)
    masks = model.read(pictures, [None, "a red ring", "  "], [(8, 9)] * 3)
    assert [mask is None for mask in masks] == [True, False, True]


def save_run(model: torch.nn.Module, path: Path, prefix: str = "") -> str:
    torch.save({"state_dict": {prefix + name: p for name, p in trainable_parameters(model).items()}}, path)
    return str(path)


@pytest.mark.parametrize("prefix", ["", "student."])
def test_the_stranger_may_be_another_run(scenes: Path, tmp_path: Path, prefix: str) -> None:
    """Of either method. Red when its weights are not found under their names, and the base reads in its place."""
    other = tiny_sa2va()
    shake(other)
    path = save_run(other, tmp_path / "iter_4.pth", prefix)
    runner = runner_of(scenes, tmp_path, ["stranger"], [path])
    unwrap_model(runner.model).student.load_state_dict(other.state_dict())
    metrics, _ = results_of(runner)
    assert metrics["test/cycle_code"] == 0


def test_a_stranger_that_does_not_fit_is_named(scenes: Path, tmp_path: Path) -> None:
    other = tiny_sa2va(trainable=("projector",))
    runner = runner_of(scenes, tmp_path, ["stranger"], [save_run(other, tmp_path / "iter_1.pth")])
    with pytest.raises(CheckpointError, match=r"iter_1.pth lacks .*Give a run that trained the same parts"):
        runner.test()
    runner = runner_of(scenes, tmp_path, ["stranger"])
    runner.cfg.model.sa2va.weights = None
    with pytest.raises(ConfigError, match="random base weights"):
        runner.test()


def test_only_tensors_that_differ_are_held() -> None:
    """Red when a stranger costs a second model: at 4B it would not fit beside the first."""
    model = tiny_sa2va()
    other = copy.deepcopy(model)
    assert len(OtherWeights(model, other)) == 0
    with torch.no_grad():
        other.text_hidden_fcs[0].bias.add_(1)
    weights = OtherWeights(model, other)
    assert len(weights) == 1
    assert weights.touch(model.text_hidden_fcs)
    assert not weights.touch(model.mllm.tower, model.grounding.tower)
    own = model.text_hidden_fcs[0].bias.clone()
    with weights.applied():
        assert torch.equal(model.text_hidden_fcs[0].bias, other.text_hidden_fcs[0].bias)
    assert torch.equal(model.text_hidden_fcs[0].bias, own)


def evaluated(scenes: Path, work_dir: Path) -> dict[str, float]:
    init_cpu_process_group(use_deepspeed=False)
    runner = runner_of(scenes, work_dir)
    shake(unwrap_model(runner.model))
    return {name: value for name, value in runner.test().items() if "time" not in name}


@pytest.mark.slow
def test_figures_do_not_depend_on_the_number_of_ranks(scenes: Path, tmp_path: Path) -> None:
    """Three ranks share batches of 4, 4 and 1 objects. Red when a rank exchanges captions among its own objects."""
    (one,) = run_ranks(1, evaluated, scenes, tmp_path / "one", timeout=300)
    for rank in run_ranks(3, evaluated, scenes, tmp_path / "three", timeout=600):
        assert rank == one
    assert one["test/cycle_floor"] != one["test/cycle_iou"]


def test_predictions_hold_the_pixels_of_every_reading(scenes: Path, tmp_path: Path) -> None:
    """So that an experiment can draw samples again. Red when metrics and predictions part."""
    runner = runner_of(scenes, tmp_path, ["floor"], config="sa2va_tiny")
    runner._test_evaluator = [*runner._test_evaluator, dict(type=PredictionWriter, path=tmp_path / "p.jsonl")]
    metrics = runner.test()
    samples = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    pairs = [one["readings"]["floor"] for one in samples if one["kind"] == "cycle" and one["source"] == "test"]
    assert len(pairs) == 9
    intersection, union = (sum(column) for column in zip(*pairs, strict=True))
    assert metrics["test/cycle_floor"] == intersection / union

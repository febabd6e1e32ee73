"""Benchmarks: their layouts, generated with and without faults, evaluated and gone on with after a kill."""

from __future__ import annotations

import json
import os
import pickle
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mmengine.registry import DATASETS

from pseudo_gumbel.cli import test as test_command
from sa2va_native.datasets.collate import collate_batch
from sa2va_native.datasets.samplers import EvaluationBatchSampler
from sa2va_native.engine.config.benchmarks import benchmark_file, limit_samples, use_benchmarks
from sa2va_native.engine.config.find_config import find_config, shipped_configs
from sa2va_native.engine.config.source_metrics import require_metrics
from sa2va_native.engine.run import launch
from sa2va_native.errors import BadSample, ConfigError, DataError
from sa2va_native.evaluation.caption_file import CaptionFile
from sa2va_native.evaluation.clips import clip_scores
from sa2va_native.evaluation.predictions import read_predictions
from sa2va_native.evaluation.reason_seg_metric import ReasonSegMetric
from sa2va_native.evaluation.segmentation import cumulative_iou, intersection_union, iou, mean, mean_iou
from sa2va_native.files.paths import ROOT
from sa2va_native.models.sa2va import Sa2VA
from tests.benchmark_layouts import LAYOUTS, clip_masks, left_mask, write_benchmark
from tests.ranks import run_ranks
from tests.sa2va_native.datasets import real
from tests.sa2va_native.datasets.native import box, jpeg, picture, write_files

SHIPPED = sorted(name.split("/")[1] for name in shipped_configs() if name.startswith("benchmarks/"))
#: Needs an extra and Java.
WITH_EXTRA = "refcocog_captions"


def config(work_dir: Path) -> Any:
    return launch.load_config("sa2va_tiny", None, str(work_dir))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_benchmark_is_the_test_set_of_any_config(name: str, tmp_path: Path) -> None:
    """Red when a source has no metric, a path is not below the data root, or the model's sizes are lost."""
    cfg = config(tmp_path)
    transform = cfg.test_dataloader.dataset.transform
    use_benchmarks(cfg, [name], str(tmp_path / "sets"))
    require_metrics(cfg, "test")
    assert cfg.test_dataloader.dataset.transform == transform
    assert {metric.source for metric in cfg.test_evaluator} == {
        source.name for source in cfg.test_dataloader.dataset.sources
    }
    for source in cfg.test_dataloader.dataset.sources:
        assert source.name.startswith(f"{name}/")
        paths = [value for value in source.dataset.values() if isinstance(value, str) and "/" in value]
        assert all(path.startswith(str(tmp_path / "sets")) for path in paths)
    assert name in LAYOUTS or name == "scenes"


def test_benchmarks_are_named(tmp_path: Path) -> None:
    cfg = config(tmp_path)
    with pytest.raises(ConfigError, match=r"--benchmark refcocoo: .*Did you mean 'refcoco'"):
        use_benchmarks(cfg, ["refcocoo"])
    own = tmp_path / "mine.py"
    own.write_text("test_dataloader = dict(dataset=dict(sources=[dict(kind='cycle')]))\ntest_evaluator = [dict(a=1)]\n")
    with pytest.raises(ConfigError, match=r"mine.py: .*does not say which source"):
        use_benchmarks(cfg, [str(own)])
    own.write_text("model = 3\n")
    with pytest.raises(ConfigError, match=r"mine\.py: model is not for a benchmark"):
        use_benchmarks(cfg, [str(own)])
    with pytest.raises(ConfigError, match="--max-samples must be at least 1, got 0"):
        limit_samples(cfg, 0)


def test_two_names_for_one_benchmark_count_once(tmp_path: Path) -> None:
    cfg = config(tmp_path)
    use_benchmarks(cfg, ["refcoco", "grefcoco", "refcoco"])
    names = [source.name for source in cfg.test_dataloader.dataset.sources]
    assert names == [f"{name}/{split}" for name in ("refcoco", "grefcoco") for split in ("val", "testA", "testB")]
    assert benchmark_file("refcoco").name == "refcoco.py"


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_fault_ends_the_evaluation_by_name(name: str, tmp_path: Path) -> None:
    """Red when a faulty record is scored, or left out of a figure without a word."""
    write_benchmark(name, tmp_path / "sets", fault=True)
    cfg = config(tmp_path)
    use_benchmarks(cfg, [name], str(tmp_path / "sets"))
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    with pytest.raises(DataError, match=LAYOUTS[name][1]):
        list(map(dataset.__getitem__, range(len(dataset))))


def test_ignored_pixels_do_not_count(tmp_path: Path) -> None:
    """Red when ReasonSeg's ignored pixels are errors of whoever marks them, or hits."""
    write_benchmark("reason_seg", tmp_path / "sets")
    cfg = config(tmp_path)
    use_benchmarks(cfg, ["reason_seg"], str(tmp_path / "sets"))
    item = DATASETS.build(cfg.test_dataloader.dataset)[0]
    target = np.zeros((24, 32), bool)
    target[2:13, 3:16] = True  # with its outline, as cv2 draws it
    np.testing.assert_array_equal(item.gt_mask, target)
    assert item.text == "what is red?"
    sample = {"kind": "refer", "source": "val", "gt_mask": item.gt_mask, "attributes": item.attributes}
    metric = ReasonSegMetric(source="val")
    wrong = np.zeros((24, 32), bool)
    wrong[6:21, 18:29] = True
    for pred_mask in (target | wrong, None, wrong):
        metric.process(None, [{**sample, "pred_mask": pred_mask}])
    assert metric.evaluate(3) == {"val/refer_ciou": 1 / 3, "val/refer_giou": 1 / 3}


@pytest.mark.parametrize("name", ["mevis", "revos", "ref_davis"])
def test_clips_have_a_mask_for_each_frame(name: str, tmp_path: Path) -> None:
    """Red when masks and frames part, a hidden object keeps a mask, or two clips share a batch."""
    write_benchmark(name, tmp_path / "sets")
    cfg = config(tmp_path)
    use_benchmarks(cfg, [name], str(tmp_path / "sets"))
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    items = [dataset[item] for item in range(len(dataset))]
    moving, still = np.stack(clip_masks(7)), np.stack([box(14, 20, 6, 8)] * 7)
    both = ("both", still if name == "ref_davis" else moving | still)
    expected = [("the one that moves", moving), both, ("the one that moves", np.stack(clip_masks(2)))]
    if name == "revos":  # the one that needs reasoning is in a source of its own
        expected.append(expected.pop(1))
    for item, (text, mask) in zip(items, expected, strict=True):
        assert item.text == text
        np.testing.assert_array_equal(item.gt_mask, mask)
        assert item.sides.caption_side.pixel_values.shape == (len(mask), 3, 128, 128)
    sampler = EvaluationBatchSampler(SimpleNamespace(dataset=dataset), 4, rank=0, world_size=1)
    assert [len(batch) for batch in sampler] == [1, 1, 1]
    with pytest.raises(DataError, match="2 clips, which differ in length"):
        collate_batch(items[:2])
    with pytest.raises(ConfigError, match="is for evaluation"):
        DATASETS.build({**cfg.test_dataloader.dataset.to_dict(), "keep_gt_masks": False})


def test_revos_is_scored_in_two_halves(tmp_path: Path) -> None:
    """Red when an expression is in the other half, one without a target in either, or one of no type in none."""
    write_benchmark("revos", tmp_path / "sets")
    cfg = config(tmp_path)
    use_benchmarks(cfg, ["revos"], str(tmp_path / "sets"))
    sources = {source.name: source.dataset for source in cfg.test_dataloader.dataset.sources}
    texts = {name: [sample.text for sample in DATASETS.build(source)] for name, source in sources.items()}
    assert texts == {"revos/referring": ["the one that moves"] * 2, "revos/reasoning": ["both"]}
    file = Path(sources["revos/reasoning"].expressions)
    content = json.loads(file.read_text())
    content["videos"]["b"]["expressions"]["1"]["type_id"] = "?"
    file.write_text(json.dumps(content))
    for source in sources.values():
        data = DATASETS.build(source)
        with pytest.raises(BadSample, match=r"video b expression 1: type_id '\?', expected a whole number"):
            data[len(data) - 1]
    content["videos"] = {"b": {**content["videos"]["b"], "expressions": {}}}
    content["videos"]["b"]["expressions"]["0"] = {"exp": "it", "anno_id": [], "type_id": 1.0}
    file.write_text(json.dumps(content))
    assert len(DATASETS.build(sources["revos/reasoning"])) == 1
    with pytest.raises(DataError, match="no expressions of type_id 0"):
        DATASETS.build(sources["revos/referring"])


def test_no_judge_is_called_unless_named(tmp_path: Path) -> None:
    """Red when a figure of the judge is lost, or the json is not what DLC-Bench's code reads."""
    samples = [
        {"kind": "cycle", "source": "all", "sample_id": f"annotations.json#annotation {number}", "caption": caption}
        for number, caption in ((12, "a red box"), (7, None))
    ]
    judges: list[Any] = [None, lambda captions: {"length": float(len(captions["12"]))}]
    for judge, told in zip(judges, ({}, {"all/judge_length": 9.0}), strict=True):
        metric = CaptionFile(tmp_path / "new/dlc.json", judge, source="all")
        metric.process(None, samples)
        assert metric.evaluate(2) == {"all/caption_missing": 0.5, **told}
        assert json.loads((tmp_path / "new/dlc.json").read_text()) == {"12": "a red box", "7": ""}


@pytest.mark.parametrize("page", ["docs/evaluation.md", "docs/reproduce_4b.md"])
def test_commands_of_the_pages_are_understood(page: str) -> None:
    """Red when a page names an option, a config or a benchmark that is not there."""
    blocks = "".join(re.findall(r"^```bash\n(.*?)^```", (ROOT / page).read_text(), flags=re.M | re.S))
    commands = [shlex.split(line, comments=True) for line in blocks.replace("\\\n", " ").splitlines()]
    found = 0
    for words in commands:
        if "tools/test.py" in words:
            args = test_command.parse_args(words[words.index("tools/test.py") + 1 :], "tools/test.py")
            find_config(args.config)
            assert all(benchmark_file(name) for name in args.benchmark or ())
            found += bool(args.benchmark)
        elif words and words[0] == "tools/dist_train.sh":
            find_config(words[1])
        elif words and words[0].startswith("tools/"):
            assert (ROOT / words[0]).is_file()
    assert found > 2
    shown = (ROOT / "docs/evaluation.md").read_text()
    assert all(f"`{name}`" in shown for name in SHIPPED)


def test_a_dry_run_opens_the_data_and_loads_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At 4B, whose weights are not there. Red when a missing set is noticed after the weights are loaded."""
    write_benchmark("refcoco", tmp_path / "sets")
    command = [
        "sa2va_4b",
        "--work-dir",
        str(tmp_path / "w"),
        "--weights",
        "none",
        "--data-root",
        str(tmp_path / "sets"),
    ]
    test_command.main([*command, "--benchmark", "refcoco", "--dry-run", "--debug"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[-3:]] == [
        [f"refcoco/{split}", "refer", "2"] for split in ("val", "testA", "testB")
    ]
    assert "ReferringMetric, ReferringPrecision" in lines[-1]
    with pytest.raises(DataError, match="no such folder"):
        test_command.main([*command, "--benchmark", "refcoco_plus", "--dry-run", "--debug"])


def evaluate(work_dir: Path, data: Path, *names: str, options: tuple[str, ...] = ()) -> dict[str, float]:
    """Figures of an evaluation by the command; the predictions are in ``work_dir``."""
    benchmarks = ["--benchmark", *names, "--data-root", str(data)]
    kept = ["--predictions", f"{work_dir}/predictions.jsonl", "--out", f"{work_dir}/metrics.json"]
    cut = ["--cfg-options", "test_dataloader.batch_size=2", *options]
    test_command.main(["sa2va_tiny", "--work-dir", str(work_dir), *benchmarks, *kept, *cut, "--debug"])
    if os.environ.get("RANK", "0") != "0":
        return {}  # the first rank tells
    return {
        name: value
        for name, value in json.loads((work_dir / "metrics.json").read_text()).items()
        if "/" in name and "time" not in name
    }


@pytest.mark.slow
def test_every_benchmark_is_evaluated_from_its_layout(tmp_path: Path) -> None:
    """Each figure under its own prefix, equal to a recount from the predictions. Red when two benchmarks mix."""
    names = [name for name in LAYOUTS if name != WITH_EXTRA]
    for name in names:
        write_benchmark(name, tmp_path / "sets")
    figures = evaluate(tmp_path, tmp_path / "sets", *names)
    samples = list(read_predictions(tmp_path / "predictions.jsonl"))
    assert [sample["item"] for sample in samples] == list(range(len(samples)))
    assert {name.split("/")[0] for name in figures} == set(names)
    for source in {sample["source"] for sample in samples if sample["kind"] == "refer"} - {
        "reason_seg/val",
        "reason_seg/test",
    }:
        pairs = [
            intersection_union(sample["pred_mask"], sample["gt_mask"])
            for sample in samples
            if (sample["source"], sample["kind"]) == (source, "refer")
        ]
        assert figures[f"{source}/refer_ciou"] == cumulative_iou(pairs)
        assert figures[f"{source}/refer_giou"] == mean_iou(pairs)
    for name in ("mevis", "ref_davis"):
        scores = [
            clip_scores(sample["pred_mask"], sample["gt_mask"], first_given=False)
            for sample in samples
            if sample["source"] == f"{name}/valid"
        ]
        assert len(scores) == 3
        assert figures[f"{name}/valid/clip_j"] == mean([j for j, _ in scores])
        assert figures[f"{name}/valid/clip_f"] == mean([f for _, f in scores])
    followed = [sample for sample in samples if sample["source"] == "davis17/val"]
    assert len(followed) == 4
    given = [iou(intersection_union(sample["pred_mask"][0], sample["gt_mask"][0])) for sample in followed]
    assert min(given) > 0.7, "the first mask is given, at a quarter of the model's picture"
    scores = [clip_scores(sample["pred_mask"], sample["gt_mask"], first_given=True) for sample in followed]
    assert figures["davis17/val/clip_j"] == mean([j for j, _ in scores])
    said = {sample["sample_id"].split()[-1]: sample["caption"] for sample in samples if "dlc" in sample["source"]}
    assert json.loads((tmp_path / "dlc_bench.json").read_text()) == said
    none = [sample for sample in samples if sample["source"] == "grefcoco/val" and not sample["gt_mask"].any()]
    assert [sample["text"] for sample in none] == ["the dog"]
    answered = none[0]["pred_mask"] is not None and none[0]["pred_mask"].any()
    assert figures["grefcoco/val/refer_n_acc"] == float(not answered)
    assert 0 <= figures["grefcoco/val/refer_t_acc"] <= 1
    (first, *_) = [sample for sample in samples if sample["source"] == "refcoco/val"]
    np.testing.assert_array_equal(first["gt_mask"], left_mask())
    assert not (tmp_path / "predictions.jsonl.unfinished").exists()


class Killed(BaseException):
    """As SIGKILL, nothing handles it."""


def kill_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> list[int]:
    """Ends the evaluation in this many batches; returns where the numbers of samples of predicted batches go."""
    predict, sizes = Sa2VA.predict, []

    def counted(self: Sa2VA, batch: Any) -> Any:
        if len(sizes) == batches:
            raise Killed
        sizes.append(len(batch.text))
        return predict(self, batch)

    monkeypatch.setattr(Sa2VA, "predict", counted)
    return sizes


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_to_the_same_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With controls too. Red when a batch is predicted twice or never, or another sample takes its place."""
    write_benchmark("own", tmp_path / "sets")
    write_benchmark("grefcoco", tmp_path / "sets")
    names, controls = ("grefcoco", "own"), ("--controls", "floor")
    whole = evaluate(tmp_path / "whole", tmp_path / "sets", *names, options=controls)
    parts = []
    for batches in (2, 5, 100):
        with monkeypatch.context() as patched:
            sizes = kill_after(patched, batches)
            if batches < 100:
                with pytest.raises(Killed):
                    evaluate(tmp_path / "cut", tmp_path / "sets", *names, options=controls)
                (last,) = (tmp_path / "cut/predictions.jsonl.unfinished").glob("*.jsonl") if batches == 2 else [None]
                if last:
                    last.write_text(last.read_text() + '{"items": [6')  # what a full disk leaves
            else:
                resumed = evaluate(tmp_path / "cut", tmp_path / "sets", *names, options=controls)
            parts.append(len(sizes))
    assert resumed == whole
    assert sum(parts) == 2 * 3 + 3
    one, other = ((tmp_path / run / "predictions.jsonl").read_text() for run in ("whole", "cut"))
    assert one.replace(str(tmp_path / "whole"), "") == other.replace(str(tmp_path / "cut"), "")


@pytest.mark.slow
def test_another_evaluation_does_not_go_on_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when the results of other weights or data are counted among this model's."""
    write_benchmark("own", tmp_path / "sets")
    with monkeypatch.context() as patched:
        kill_after(patched, 1)
        with pytest.raises(Killed):
            evaluate(tmp_path, tmp_path / "sets", "own")
    with pytest.raises(ConfigError, match=r"holds an unfinished evaluation with another model\. Delete it"):
        evaluate(tmp_path, tmp_path / "sets", "own", options=("model.max_new_tokens=3",))


def on_ranks(work_dir: Path, data: Path, batches: int | None) -> dict[str, float] | None:
    with pytest.MonkeyPatch.context() as patched:
        if batches is not None:
            kill_after(patched, batches)
        try:
            several = ("--launcher", "pytorch") if os.environ["WORLD_SIZE"] != "1" else ()
            return evaluate(work_dir, data, "grefcoco", options=several)
        except Killed:
            return None


@pytest.mark.slow
def test_it_goes_on_with_other_ranks(tmp_path: Path) -> None:
    """One rank is killed after a batch; three, with uneven shards, end it. Red when a rank goes on alone."""
    write_benchmark("grefcoco", tmp_path / "sets")
    whole = run_ranks(1, on_ranks, tmp_path / "whole", tmp_path / "sets", None, timeout=300)[0]
    assert run_ranks(1, on_ranks, tmp_path / "cut", tmp_path / "sets", 1, timeout=300) == [None]
    assert run_ranks(3, on_ranks, tmp_path / "cut", tmp_path / "sets", None, timeout=600)[0] == whole
    one, other = ((tmp_path / run / "predictions.jsonl").read_text() for run in ("whole", "cut"))
    texts = [[json.loads(line)["text"] for line in lines.splitlines()] for lines in (one, other)]
    assert texts[0] == texts[1]
    assert not list((tmp_path / "cut").glob("predictions.rank*"))


@pytest.mark.slow
@pytest.mark.realdata
def test_real_files_are_evaluated(tmp_path: Path, realdata_root: Path) -> None:
    """COCO's photos, human expressions for them, and masklets of SA-V on drawn frames. Red when a real file is refused.

    All expressions of the join, some objects of COCO, and the first four frames of every masklet.
    """
    data = tmp_path / "sets"
    (data / "coco2014").mkdir(parents=True)
    (data / "coco").symlink_to(realdata_root / "tiny_coco")
    (data / "coco2014/train2014").symlink_to(realdata_root / "tiny_coco/val2017")
    real.write_refer(realdata_root, data / "refcoco")
    refs = data / "refcoco/refs(unc).p"
    written = pickle.loads(refs.read_bytes())  # our own
    for number, ref in enumerate(written):
        ref["split"] = ("val", "testA", "testB")[number % 3]
    refs.write_bytes(pickle.dumps(written, protocol=2))
    clips = write_masklets(realdata_root, data / "video_datas/mevis/valid_u")

    figures = evaluate(tmp_path, data, "refcoco", "mevis", options=())
    samples = list(read_predictions(tmp_path / "predictions.jsonl"))
    human = [one["expression"] for one in real.expressions(realdata_root)]
    assert sorted(sample["text"] for sample in samples if sample["kind"] == "refer") == sorted(human)
    assert sum(sample["kind"] == "clip" for sample in samples) == clips
    assert all(0 <= value <= 1 for value in figures.values() if value == value)  # a size may not be there


def write_masklets(realdata: Path, folder: Path) -> int:
    """The masklets of SA-V's example in MeViS's layout, on frames of noise; returns how many."""
    content = json.loads((realdata / "sav_example/sav_000001_manual.json").read_text())
    size = int(content["video_height"]), int(content["video_width"])
    frames = [f"{number:05d}" for number in range(4)]
    files = {f"{frame}.jpg": jpeg(picture(number, size)) for number, frame in enumerate(frames)}
    write_files(folder / "JPEGImages/sav", files)
    masklets = list(zip(*content["masklet"][: len(frames)], strict=True))
    expressions = {str(n): {"exp": f"object {n}", "anno_id": [n], "obj_id": [n]} for n in range(len(masklets))}
    (folder / "mask_dict.json").write_text(json.dumps(dict(enumerate(masklets))))
    videos = {"videos": {"sav": {"frames": frames, "expressions": expressions}}}
    (folder / "meta_expressions.json").write_text(json.dumps(videos))
    return len(masklets)

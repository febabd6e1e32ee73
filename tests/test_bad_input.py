"""Bad input from the command line: one clear line with value, place and remedy, a non-zero exit status, no hang."""

from __future__ import annotations

import json
import re
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image

import sa2va_native.engine.run.strategy  # noqa: F401
from sa2va_native.datasets.scenes.scene_set import write_scene_set
from sa2va_native.errors import PromptError
from sa2va_native.files.paths import ROOT
from sa2va_native.models import sa2va as sa2va_module
from tests.ranks import Ended, call_tool
from tests.tiny import tiny_batch, tiny_pseudo_gumbel

SIZES = {"labelled": 6, "mask_only": 4, "test": 2, "test_heldout": 2}
SQUARE = {"segmentation": [[8, 8, 60, 8, 60, 60, 8, 60]], "area": 2704, "iscrowd": 0}
OUTSIDE = {"segmentation": [[200, 200, 260, 200, 260, 260]]}
PICTURES = 8


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene_set(tmp_path_factory.mktemp("data") / "scenes", sizes=SIZES)


@pytest.fixture(autouse=True)
def _plain_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Laying out the config for the log, three times, would take most of a run's time."""
    for module in ("mmengine.config.config", "yapf.yapflib.yapf_api"):  # where MMEngine 0.10 and 0.11 take it from
        monkeypatch.setattr(f"{module}.FormatCode", lambda text, **_: (text, True), raising=False)


def coco_root(root: Path, annotation: dict | None = None, unreadable: tuple[int, ...] = ()) -> Path:
    """A folder in COCO layout whose annotations are all alike; ``unreadable`` are ids of pictures."""
    (root / "annotations").mkdir(parents=True)
    (root / "train").mkdir()
    numbers = range(1, PICTURES + 1)
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 255, (96, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"train/{number}.png")
        if number in unreadable:
            (root / f"train/{number}.png").write_bytes(b"\x89PNG and then nothing")
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 96, "width": 96} for n in numbers],
        "annotations": [{"id": n, "image_id": n, **(SQUARE if annotation is None else annotation)} for n in numbers],
    }
    (root / "annotations/instances_train.json").write_text(json.dumps(content))
    return root


def train(
    scenes: Path, work_dir: Path, *arguments: object, ranks: int = 0, options: tuple[str, ...] = ()
) -> list[Ended]:
    """``tools/train.py configs/pseudo_gumbel_tiny.py`` on masks alone, a sample and a micro-batch a step."""
    sizes = [f"train_dataloader.dataset.sources.1.dataset.settings.sizes.{name}={size}" for name, size in SIZES.items()]
    start = ["--work-dir", work_dir, "--max-steps", 1]
    return call_tool(
        ROOT / "tools/train.py", ROOT / "configs/pseudo_gumbel_tiny.py", *start, *arguments, "--cfg-options",
        f"train_dataloader.dataset.sources.1.dataset.root={scenes}", *sizes, "train_dataloader.batch_size=1",
        "train_dataloader.batch_sampler.pattern=cycle,", "optim_wrapper.accumulative_counts=1", *options, ranks=ranks,
    )  # fmt: skip


def error_line(ended: Ended) -> str:
    """The one line that tells the error; everything else was logged before it."""
    assert ended.status == 1, ended.output
    assert "Traceback" not in ended.output
    *_, line, hint = ended.output.strip().splitlines()
    assert hint == "(--debug shows where it was raised)"
    return line


@pytest.mark.parametrize(
    ("root", "message"),
    [
        (None, r"^DataError: \S+/root: no such file or folder. Expected own data \(data.jsonl\), the layout of COCO"),
        ("empty", r"^DataError: \S+/root: the folder is empty. Expected own data"),
        ({"bbox": [1, 2, 3, 4]}, r"instances_train.json: 8 annotations, none with a mask \('segmentation'\). Give an"),
        (OUTSIDE, r"bad samples: 1, more than max_bad_samples=0; the last one: \S+instances_train.json: annotation \d: "
                  r"mask entirely outside its picture of 96 x 96 px. Each is named in \S+/run/bad_samples.jsonl. Fix"),
    ],
    ids=["missing-root", "empty-root", "no-masks", "mask-outside"],
)  # fmt: skip
def test_data_that_cannot_be_used(scenes: Path, tmp_path: Path, root: dict | str | None, message: str) -> None:
    """Red when the user meets a traceback, or training begins on something else."""
    if root == "empty":
        (tmp_path / "root").mkdir()
    elif isinstance(root, dict):
        coco_root(tmp_path / "root", root)
    strict = ("train_dataloader.dataset.max_bad_samples=0",)
    (ended,) = train(scenes, tmp_path / "run", "--data-root", tmp_path / "root", options=strict)
    assert re.search(message, error_line(ended)), error_line(ended)


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_pictures_are_counted_named_and_limited(scenes: Path, tmp_path: Path, workers: int) -> None:
    """Red when one is swallowed, when the limit is not the config's, or a loader worker adds its traceback."""
    root = coco_root(tmp_path / "root", unreadable=(2, 5))
    loader = (f"train_dataloader.num_workers={workers}", f"train_dataloader.batch_size={PICTURES}")
    if not workers:
        (ended,) = train(scenes, tmp_path / "run", "--data-root", root, options=loader)
        assert ended.status == 0, ended.output
        named = [json.loads(line) for line in (tmp_path / "run/bad_samples.jsonl").read_text().splitlines()]
        assert sorted(line["path"] for line in named) == [str(root / f"train/{n}.png") for n in (2, 5)]
        assert sorted(line["record"] for line in named) == ["annotation 2", "annotation 5"]
        unused = "by rank: bad [2], too few region cells [0], no mask pixel [0]. Each is named in"
        assert f"Samples that could not be used, {unused}" in ended.output
    limit = "train_dataloader.dataset.max_bad_samples=1"
    (ended,) = train(scenes, tmp_path / "strict", "--data-root", root, options=(*loader, limit))
    assert re.match(
        r"DataError: bad samples: 2, more than max_bad_samples=1; the last one: \S+/train/[25].png: annotation [25]: "
        r"unreadable picture \(UnidentifiedImageError.*raise max_bad_samples",
        error_line(ended),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("model.mask_ration=0.5", "model.mask_ration = 0.5: PseudoGumbel has no parameter 'mask_ration'. Did you mean"),
        ("model.estimator.top_k=100000", r"estimator.top_k=100000 with a vocabulary of 125: choose top_k <= 125"),
    ],
)
def test_settings_that_cannot_work(scenes: Path, tmp_path: Path, options: str, message: str) -> None:
    (ended,) = train(scenes, tmp_path / "run", options=(options,))
    assert re.match(f"ConfigError: .*{message}", error_line(ended)), error_line(ended)


def test_a_misspelt_key_in_a_config_file(tmp_path: Path) -> None:
    """Red when only ``--cfg-options`` are checked."""
    config = (ROOT / "configs/_base_/default_runtime.py").read_text() + "\ntrain_dataloder = dict(batch_size=1)\n"
    (tmp_path / "mine.py").write_text(config)
    (ended,) = call_tool(ROOT / "tools/train.py", tmp_path / "mine.py", "--work-dir", tmp_path / "run")
    assert "ConfigError: config key train_dataloder = {'batch_size': 1} is unknown. Did you mean" in error_line(ended)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--work-dir", "/dev/null/x"), "work dir /dev/null/x is not writable .*Choose another one with --work-dir"),
        (("--ranks", 2), "2 ranks were requested and 1 started. Start them with pseudo-gumbel dist-train CONFIG 2"),
    ],
)
def test_a_place_that_cannot_work(scenes: Path, tmp_path: Path, arguments: tuple, message: str) -> None:
    (ended,) = train(scenes, tmp_path / "run", *arguments)
    assert re.match(f"ConfigError: {message}", error_line(ended)), error_line(ended)


@pytest.mark.parametrize("kind", ["refer", "cycle"])
@pytest.mark.parametrize("answer", ["Sure.", "[SEG] and [SEG]."])
def test_an_answer_without_one_seg_is_no_zero_loss(kind, answer: str) -> None:
    """Red when a prompt whose ``[SEG]`` is missing trains on nothing, as a run with a silent zero loss does."""
    model = tiny_pseudo_gumbel()
    with patch.object(sa2va_module.P, "SEGMENT_ANSWERS", (answer,)), pytest.raises(PromptError, match=r"\[SEG\]"):
        model(tiny_batch(kind), mode="loss")


def test_a_loss_that_stays_non_finite_keeps_the_last_good_checkpoint(scenes: Path, tmp_path: Path) -> None:
    """The learning rate jumps at step 4, so that its update spoils the weights; steps 5 and 6 are skipped.

    Red when the run goes on, when the spoilt weights push the good checkpoint out, or are called good.
    """
    options = (
        "default_hooks.checkpoint.interval=1", "default_hooks.checkpoint.max_keep_ckpts=2",
        "default_hooks.non_finite.patience=2", "optim_wrapper.optimizer.lr=1e30",
        "param_scheduler.0.start_factor=1e-34", "param_scheduler.0.begin=0", "param_scheduler.0.end=3",
    )  # fmt: skip
    (ended,) = train(scenes, tmp_path / "run", "--max-steps", 9, options=options)
    line = error_line(ended)
    assert "loss or gradient is not finite (losses of this rank: nan), 2 steps in a row. The last good" in line
    good = Path(re.search(r"last good checkpoint is (\S+)\. Lower the learning rate", line)[1])
    kept = sorted(path.name for path in (tmp_path / "run").glob("iter_*"))
    failed = int(re.search(r"optimizer step (\d+)", line)[1])
    assert kept == [f"iter_{failed - 3}.pth", f"iter_{failed - 2}.pth"]
    assert good.name == kept[0]
    weights = torch.load(good, weights_only=False)["state_dict"]
    assert all(tensor.abs().max() < 1e3 for tensor in weights.values() if tensor.is_floating_point())


def test_one_rank_alone_in_trouble_ends_both(scenes: Path, tmp_path: Path) -> None:
    """Red when the other rank hangs in a collective, or buries the message under a traceback of its own."""
    root = coco_root(tmp_path / "root", unreadable=(3,))  # one of the ranks will meet it, within one pass
    options = ("train_dataloader.dataset.max_bad_samples=0",)
    arguments = ("--data-root", root, "--max-steps", PICTURES // 2, "--launcher", "pytorch", "--ranks", 2)
    lines = [error_line(ended) for ended in train(scenes, tmp_path / "run", *arguments, ranks=2, options=options)]
    assert all(line.startswith(f"rank {rank}: ") for rank, line in enumerate(lines))
    told, silent = sorted((line[8:] for line in lines), key=len, reverse=True)
    assert told.startswith("DataError: bad samples: 1, more than max_bad_samples=0; the last one: ")
    assert silent == "stopped, because another rank did; its message says why"


def test_own_data_with_faults_trains_on_both_ranks(scenes: Path, tmp_path: Path) -> None:
    """Red when own data does not reach a training step, a bad record ends the run, or the ranks fall out of step."""
    root = coco_root(tmp_path / "root", unreadable=(2,))
    good = {"mask": SQUARE["segmentation"], "text": "a square"}
    records = [{"image": f"train/{number}.png", **good} for number in range(1, PICTURES + 1)]
    records[3]["image"] = "../outside.png"
    records[5] |= {"image2": "train/1.png", "mask2": SQUARE["segmentation"]}
    lines = [*map(json.dumps, records), '{"image": "train/1.png", "mask": [[8, 8']
    (root / "data.jsonl").write_text("\n".join(lines))
    options = (f"train_dataloader.batch_size={len(lines) // 2 + 1}",)
    arguments = ("--data-root", root, "--launcher", "pytorch", "--ranks", 2)
    ended = train(scenes, tmp_path / "run", *arguments, ranks=2, options=options)
    assert [one.status for one in ended] == [0, 0], ended[0].output
    named = [json.loads(line) for line in (tmp_path / "run/bad_samples.jsonl").read_text().splitlines()]
    reasons = {line["record"]: line["reason"] for line in named}
    assert set(reasons) == {"line 2", "line 4", "line 9"}
    assert reasons["line 4"].startswith("missing")
    assert "is it truncated?" in reasons["line 9"]

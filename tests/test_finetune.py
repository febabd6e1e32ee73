"""The page on fine-tuning, followed literally; and real expressions, as REFER and as own data."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from sa2va_native.datasets.adapters.refer import ReferExpressions
from sa2va_native.datasets.converters.coco import CocoConverter
from sa2va_native.datasets.converters.convert import write_own_data
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.datasets.scenes.scene_set import write_scene_set
from sa2va_native.files.paths import ROOT
from tests.ranks import call_tool
from tests.sa2va_native.datasets import real

PAGE = ROOT / "docs/finetune.md"
FIGURES = re.compile(r"val/refer_ciou: ([\d.]+)  val/refer_giou: ([\d.]+)  val/refer_p50: ([\d.]+)")


def commands() -> list[str]:
    """Those of the page, without comments, and without those that need a GPU."""
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if not line.endswith("# (GPU)")]


def run(command: str) -> str:
    """What a command of the page prints, with the folder at hand for its own, and without 4B weights."""
    tool, *arguments = command.replace("--weights Sa2VA-4B", "--weights none").split()
    arguments = [str(ROOT / part) if part.startswith("configs/") else part for part in arguments]
    if tool == "tools/dist_train.sh":
        tool, arguments = "tools/train.py", [arguments[0], "--ranks", *arguments[1:]]
    (ended,) = call_tool(ROOT / tool, *arguments, timeout=900)
    assert ended.status == 0, ended.output
    return ended.output


@pytest.mark.slow
def test_the_page_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when a command of the page fails, no figure is printed, or the best checkpoint is not kept."""
    scenes = write_scene_set(tmp_path / "scenes", seed=1, sizes={"labelled": 12, "mask_only": 4, "test": 2}, side=96)
    for split, name in (("labelled", "mine"), ("mask_only", "masks")):
        (tmp_path / "data").mkdir(exist_ok=True)
        shutil.copytree(scenes / split, tmp_path / "data" / name)
        folder = tmp_path / "data" / name
        write_own_data(CocoConverter(folder / "instances.json"), folder / "data.jsonl")
        for file in (*folder.glob("refs*"), folder / "instances.json"):
            file.unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1 << 50))  # 4B checkpoints are large
    told = {command: run(command) for command in commands()}
    checked, *rest = told.values()
    assert "0 bad" in checked
    dry = [output for command, output in told.items() if "--dry-run" in command]
    assert len(dry) == len(rest) - 1 >= 5
    assert all("No problem found: the run can start." in output for output in dry)
    (log,) = (output for command, output in told.items() if "--work-dir" in command)
    assert len(FIGURES.findall(log)) == 5
    assert len(list((tmp_path / "work_dirs/mine").glob("best_val_refer_ciou_iter_*.pth"))) == 1


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize("layout", ["refer", "own"])
def test_real_expressions_are_trained_and_evaluated(
    layout: str, realdata_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red when human expressions cannot be trained on by their path, or a picture is trained on and scored."""
    config = real.write_refer(realdata_root, tmp_path / "refer")
    (tmp_path / "refer/images").symlink_to(config["image_root"])
    root = tmp_path / "refer"
    if layout == "own":
        data = ReferExpressions(root, "train")
        samples = [(data.picture_name(index), data[index]) for index in range(len(data))]
        records = [{"image": name, "mask": encode_mask(one.mask), "text": one.text} for name, one in samples]
        root = tmp_path / "own"
        shutil.copytree(config["image_root"], root)
        (root / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    arguments = f"--data-root {root} --kind refer --val-share 0.4 --max-steps 2 --val-interval 1 --work-dir run"
    monkeypatch.chdir(tmp_path)
    log = run(f"tools/train.py configs/sa2va_tiny.py {arguments}")
    held_out = int(re.search(r"evaluated every 1 steps on (\d+) samples to refer", log)[1])  # type: ignore[index]
    assert 0 < held_out < 8
    assert len(FIGURES.findall(log)) == 2
    assert "bad [0]" in log
    assert "the tokenizer does not know" in log
    assert len(list((tmp_path / "run").glob("best_val_refer_ciou_iter_*.pth"))) == 1

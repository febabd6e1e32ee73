"""Training on texts and masks that the command line gives, and evaluating on what is held out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pseudo_gumbel.cli.train import parse_args
from sa2va_native.datasets.finding.text_sets import find_kind_sets, find_validation_sets
from sa2va_native.engine.config.data_root import DataRoot, use_data_roots
from sa2va_native.engine.config.source_metrics import require_metrics
from sa2va_native.engine.config.validation import use_validation
from sa2va_native.engine.run import launch
from sa2va_native.errors import ConfigError, DataError
from tests.sa2va_native.datasets.adapters.test_own_data import SQUARE
from tests.sa2va_native.datasets.adapters.test_refer import make_refs, ref
from tests.sa2va_native.datasets.native import coco_folders, write_sav_pairs


def own(root: Path, pictures: int = 10, **more: Any) -> Path:
    """Two texts for the object of each picture."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(pictures):
        Image.new("RGB", (20, 10), (20 * number, 0, 0)).save(root / f"{number}.png")
    records = [
        {"image": f"{number}.png", "mask": SQUARE, "text": ["the box", f"number {number}"], **more}
        for number in range(pictures)
    ]
    (root / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return root


def config(name: str = "sa2va_tiny") -> Any:
    return launch.load_config(name)


def given(*arguments: str) -> list[DataRoot]:
    args = parse_args(["sa2va_tiny", *arguments], "train")
    return [DataRoot(path, tuple(kinds)) for path, kinds in args.data_root]


def test_kinds_belong_to_the_path_before_them() -> None:
    """Red when a weight or a kind goes to another path."""
    roots = given(
        "--data-root", "a", "--kind", "refer:2", "caption", "--data-root", "b", "--data-root", "c", "--kind", "cycle"
    )
    assert roots == [
        DataRoot("a", (("refer", 2.0), ("caption", 1.0))), DataRoot("b"), DataRoot("c", (("cycle", 1.0),))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--kind", "refer"], "--kind: give it after the --data-root that it is of"),
        (["--data-root", "a", "--kind", "clip"], "expected refer, caption or cycle"),
        (["--data-root", "a", "--kind", "refer:0"], "--kind refer:0: 0: expected a number above 0"),
        (["--val-interval", "5"], "--val-interval: give --val-root or --val-share"),
        (["--val-share", "1"], "expected a number above 0 and below 1"),
        (["--val-share", "0.1", "--val-root", "a"], "not allowed with"),
    ],
)
def test_wrong_options_are_one_line(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Red when a kind without data, or a share of everything, is taken."""
    with pytest.raises(SystemExit):
        parse_args(["sa2va_tiny", *arguments], "train")
    assert told in capsys.readouterr().err


def test_with_a_kind_nothing_else_is_trained(tmp_path: Path) -> None:
    """Red when generated scenes stay among one's own texts, a kind is never drawn, or a weight is lost."""
    texts, masks = own(tmp_path / "texts"), coco_folders(tmp_path / "masks", {"train": "train", "val": "val"})
    cfg = config()
    use_data_roots(cfg, [DataRoot(str(texts), (("refer", 2.0), ("caption", 1.0)))])
    sources = cfg.train_dataloader.dataset.sources
    assert [(source.kind, source.weight, source.dataset.type) for source in sources] == [
        ("refer", 2.0, "OwnData"), ("caption", 1.0, "OwnData")
    ]  # fmt: skip
    assert all(source.dataset.text_required for source in sources)
    assert list(cfg.train_dataloader.batch_sampler.pattern) == ["refer", "caption"]
    cfg = config("pseudo_gumbel_tiny")
    use_data_roots(cfg, [DataRoot(str(masks), (("cycle", 1.0),))])
    assert [source.kind for source in cfg.train_dataloader.dataset.sources] == ["cycle"], "the val set is left out"
    assert list(cfg.train_dataloader.batch_sampler.pattern) == ["cycle"]
    cfg = config("pseudo_gumbel_tiny")
    use_data_roots(cfg, [DataRoot(str(texts), (("refer", 1.0),)), DataRoot(str(masks))])
    assert list(cfg.train_dataloader.batch_sampler.pattern) == ["cycle", "refer"], "in the config's order"
    with pytest.raises(ConfigError, match=r"no source of kind 'cycle' to replace.*--kind refer"):
        use_data_roots(config(), [DataRoot(str(masks), (("cycle", 1.0),))])


def test_sets_with_texts_are_read_with_them(tmp_path: Path) -> None:
    """Red when captions of COCO are not read, a test split is trained on, or masks alone pass for texts."""
    make_refs(tmp_path / "refer", [ref(1, "left one"), ref(2, "right one", split="val"), ref(1, "it", split="testA")])
    assert [one.name for one in find_kind_sets(tmp_path / "refer", "refer")] == ["unc train"]
    assert [one.name for one in find_validation_sets(tmp_path / "refer", "caption")] == ["unc val"]
    root = coco_folders(tmp_path / "coco", {"train": "train"})
    Image.new("RGB", (20, 10)).save(root / "train/1.png")
    annotation = {"id": 1, "image_id": 1, "segmentation": SQUARE}
    file = root / "annotations/instances_train.json"
    file.write_text(json.dumps({"images": [{"id": 1, "file_name": "1.png"}], "annotations": [annotation]}))
    with pytest.raises(DataError, match=r"CocoInstances without texts.*--kind cycle"):
        find_kind_sets(root, "refer")
    content = json.loads(file.read_text())
    content["annotations"][0]["description"] = "the box"
    file.write_text(json.dumps(content))
    (found,) = find_kind_sets(root, "caption")
    assert found.config["text_key"] == "description"
    assert [one.name for one in find_validation_sets(root, "cycle")] == ["train"], "there is no other"
    with pytest.raises(DataError, match="SavPairs without texts"):
        find_validation_sets(write_sav_pairs(tmp_path / "sav"), "refer")


def test_a_share_is_evaluated_and_the_best_is_kept(tmp_path: Path) -> None:
    """Red when held-out pictures are trained on, a kind has no metric, or the last checkpoint is taken for the best."""
    cfg = config()
    use_data_roots(cfg, [DataRoot(str(own(tmp_path)), (("refer", 1.0), ("caption", 1.0)))])
    told = use_validation(cfg, share=0.3)
    assert "evaluated every 20 steps" in told
    assert "the checkpoint with the best val/refer_ciou is kept" in told
    assert cfg.default_hooks.checkpoint.save_best == "val/refer_ciou"
    train, val = cfg.train_dataloader.dataset.sources, cfg.val_dataloader.dataset.sources
    assert [(source.kind, source.name, source.only_held_out) for source in val] == [
        ("refer", "val", 0.3), ("caption", "val", 0.3)
    ]  # fmt: skip
    assert [source.held_out for source in train] == [0.3, 0.3]
    assert cfg.val_dataloader.dataset.keep_gt_masks
    assert len(cfg.test_dataloader.dataset.sources) > 2, "the test set stays"
    require_metrics(cfg, "val")
    assert {metric.type for metric in cfg.val_evaluator} == {"ReferringMetric", "ReferringPrecision", "CaptionMetric"}


def test_what_a_config_says_of_its_evaluation_stays(tmp_path: Path) -> None:
    """Red when the interval, the loop or the figure of a config are replaced."""
    cfg = config()
    cfg.train_cfg.val_interval, cfg.val_cfg = 7, dict(type="TeacherValLoop")
    cfg.default_hooks.checkpoint.save_best = "val/refer_p50"
    use_data_roots(cfg, [DataRoot(str(own(tmp_path)), (("refer", 1.0),))])
    assert "every 7 steps on 20 samples to refer; the checkpoint with the best val/refer_p50" in use_validation(
        cfg, root=str(tmp_path)
    )
    assert cfg.val_cfg.type == "TeacherValLoop"
    use_validation(cfg, root=str(tmp_path), interval=3)
    assert cfg.train_cfg.val_interval == 3


def test_a_faulty_sample_is_found_before_the_run(tmp_path: Path) -> None:
    """Red when a run trains until its first evaluation, and ends there."""
    cfg = config()
    use_data_roots(cfg, [DataRoot(str(own(tmp_path / "train")), (("refer", 1.0), ("caption", 1.0)))])
    bad = own(tmp_path / "bad")
    with (bad / "data.jsonl").open("a") as file:
        file.write(json.dumps({"image": "gone.png", "mask": SQUARE, "text": "a"}) + "\n")
    with pytest.raises(DataError, match=r"--val-root .*: 1 of 21 samples cannot be evaluated: .*gone.png.*missing"):
        use_validation(cfg, root=str(bad))
    nothing = own(tmp_path / "nothing", pictures=2, mask=None)
    with pytest.raises(DataError, match=r"4 of 4 samples cannot be evaluated: no target, which a 'caption' source"):
        use_validation(cfg, root=str(nothing))
    assert "4 samples" not in use_validation(cfg, root=str(nothing), read=False), "another rank reads them"

"""Features on disk: those that the towers would make, of these weights and these pixels alone, and never too many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from sa2va_native.engine.plan.skeleton import build_skeleton
from sa2va_native.engine.run import launch
from sa2va_native.engine.run.use_engine import use_deepspeed
from sa2va_native.errors import ConfigError
from sa2va_native.files.paths import ROOT
from sa2va_native.hooks.config_check_hook import ConfigCheckHook
from sa2va_native.models.feature_cache import FeatureCache
from sa2va_native.structures import Side
from tests.ranks import run_ranks
from tests.tiny import tiny_batch, tiny_pseudo_gumbel, tiny_sa2va, tiny_side


def cached(folder: Path, max_gb: float = 1, **overrides: Any):
    return tiny_sa2va(feature_cache=dict(folder=str(folder), max_gb=max_gb), **overrides)


@contextmanager
def pictures_seen(model: Any) -> Iterator[dict[str, int]]:
    """How many pictures each tower looks at meanwhile."""
    towers = {"vit": model.mllm.model.vision_tower, "sam2": model.grounding.sam2.vision_encoder}
    seen = dict.fromkeys(towers, 0)

    def count(name: str):
        def hook(_module: Any, args: tuple, kwargs: dict) -> None:
            seen[name] += len(kwargs["pixel_values"] if kwargs else args[0])

        return hook

    handles = [tower.register_forward_pre_hook(count(name), with_kwargs=True) for name, tower in towers.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def equal(a: Any, b: Any) -> bool:
    return torch.equal(a.vision, b.vision) and all(torch.equal(x, y) for x, y in zip(a.maps, b.maps, strict=True))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_second_look_equals_the_first_and_runs_no_tower(tmp_path: Path, dtype: str) -> None:
    """Bit for bit, and equal to a model without cache.

    Red when rows are stored in another type, another order or under another picture's name, or read for nothing.
    """
    plain, model, side = tiny_sa2va(dtype=dtype), cached(tmp_path, dtype=dtype), tiny_side(3)
    first = model.encode_pictures(side)
    assert first.vision.dtype == getattr(torch, dtype)
    with pictures_seen(model) as seen:
        assert equal(model.encode_pictures(side), first)
        assert equal(cached(tmp_path, dtype=dtype).encode_pictures(side), first), "another run"
        turned = model.encode_pictures(Side(*(tensor.flip(0) for tensor in side)))
    assert seen == {"vit": 0, "sam2": 0}
    assert equal(turned, type(first)(first.vision.flip(0), tuple(level.flip(0) for level in first.maps)))
    assert equal(plain.encode_pictures(side), first)


def test_only_missing_pictures_are_computed_and_only_by_the_tower_that_is_asked(tmp_path: Path) -> None:
    """Red when one new picture makes its whole batch computed again, or captions alone run SAM 2."""
    model, side = cached(tmp_path), tiny_side(4)
    known = Side(*(tensor[1:3] for tensor in side))
    twice = Side(*(tensor[[0, 1, 0, 3]] for tensor in side))
    with pictures_seen(model) as seen:
        assert model.encode_pictures(known, grounding=False).maps == ()
        assert seen == {"vit": 2, "sam2": 0}
        looked = model.encode_pictures(twice)
        assert seen == {"vit": 2 + 2, "sam2": 3}, "a picture that comes twice in a batch is one"
    expected = tiny_sa2va().encode_pictures(twice)
    torch.testing.assert_close(looked.vision, expected.vision, atol=1e-4, rtol=1e-4)
    for level, expected_level in zip(looked.maps, expected.maps, strict=True):
        torch.testing.assert_close(level, expected_level, atol=1e-4, rtol=1e-4)


def test_other_pixels_are_another_picture(tmp_path: Path) -> None:
    """A flip, one changed value. Red when a picture is known by its file, its size or a part of it."""
    model, side = cached(tmp_path), tiny_side(1)
    model.encode_pictures(side)
    changed = side.pixel_values.clone()
    changed[0, 2, 127, 127] ^= 1
    with pictures_seen(model) as seen:
        for pixels in (side.pixel_values.flip(-1), changed):
            model.encode_pictures(side._replace(pixel_values=pixels, grounding_pixels=pixels))
    assert seen == {"vit": 2, "sam2": 2}


def test_other_weights_types_and_settings_have_other_features(tmp_path: Path) -> None:
    """Red when features of one model reach another, also one whose weights were loaded or converted after a look."""
    side, model = tiny_side(1), cached(tmp_path)
    before = model.encode_pictures(side)
    tower = model.mllm.model.vision_tower
    with pictures_seen(model) as seen:
        with torch.autocast("cpu", torch.bfloat16):
            model.encode_pictures(side)
        assert seen == {"vit": 1, "sam2": 1}, "autocast"
        tower.config.layer_norm_eps *= 2
        cached_again = cached(tmp_path)
        cached_again.mllm.model.vision_tower.config.layer_norm_eps *= 2
    with pictures_seen(cached_again) as seen:
        cached_again.encode_pictures(side)
        assert seen == {"vit": 1, "sam2": 0}, "the config of one tower"
    with pictures_seen(model) as seen:
        state = model.state_dict()
        name = "mllm.model.vision_tower.encoder.layer.3.layernorm_after.bias"
        model.load_state_dict({**state, name: state[name] + 1})
        assert not torch.equal(model.encode_pictures(side).vision, before.vision)
        assert seen == {"vit": 1, "sam2": 0}, "loaded weights of one tower"
        model.bfloat16()
        assert model.encode_pictures(side).vision.dtype == torch.bfloat16
        assert seen == {"vit": 2, "sam2": 1}, "converted"


def test_a_damaged_file_is_computed_again(tmp_path: Path) -> None:
    """Cut off or empty. Red when it ends the run or stays there, also where there is no room for a new one."""
    model, side = cached(tmp_path), tiny_side(2)
    first = model.encode_pictures(side)
    whole = {file: file.read_bytes() for file in files(tmp_path)}
    assert len(whole) == 4
    for file, keep in zip(whole, (0, 7, 100, -1), strict=True):
        file.write_bytes(whole[file][:keep])
    assert equal(model.encode_pictures(side), first)
    assert {file: file.read_bytes() for file in files(tmp_path)} == whole
    for file in whole:
        file.write_bytes(b"")
    assert equal(cached(tmp_path, 1e-9).encode_pictures(side), first)
    assert files(tmp_path) == []


def test_no_more_is_stored_than_allowed(tmp_path: Path) -> None:
    """Counting what lay there. Red when the limit is checked too late, or counts one run's files alone."""
    one = sum(file.stat().st_size for file in _after_a_look(tmp_path / "one", 1, tiny_side(1)))
    limit = 2.6 * one / 1e9
    for seed in range(3):  # three runs
        model = cached(tmp_path / "all", limit)
        first, again = (model.encode_pictures(tiny_side(2, seed)) for _ in range(2))
        assert equal(first, again)
        assert sum(file.stat().st_size for file in files(tmp_path / "all")) <= limit * 1e9
    assert sum(file.stat().st_size for file in files(tmp_path / "all")) > 1.9 * one
    with pytest.raises(ConfigError, match="max_gb=0 leaves no room"):
        FeatureCache(str(tmp_path), 0)


def _after_a_look(folder: Path, max_gb: float, side: Side) -> list[Path]:
    cached(folder, max_gb).encode_pictures(side)
    return files(folder)


def test_a_full_disk_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when what a failed write left behind stays, or each further picture fails again."""
    attempts = []

    def full(_tensors: Any, path: Path) -> None:
        attempts.append(path)
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sa2va_native.models.feature_cache.save_file", full)
    side = tiny_side(2)
    assert equal(cached(tmp_path).encode_pictures(side), tiny_sa2va().encode_pictures(side))
    assert len(attempts) == 1
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"feature_cache: folder .*file/cache cannot be made"):
        cached(tmp_path / "file/cache").encode_pictures(tiny_side(1))


def _look_often(folder: Path, max_gb: float, apart: int) -> tuple[list[torch.Tensor], int]:
    torch.distributed.init_process_group("gloo")
    model, first = cached(folder, max_gb), apart * torch.distributed.get_rank()
    torch.distributed.barrier()
    looked = [model.encode_pictures(tiny_side(2, seed)).vision for seed in range(first, first + 4) for _ in range(2)]
    torch.distributed.barrier()
    return looked, sum(file.stat().st_size for file in files(folder))


def test_ranks_share_a_folder(tmp_path: Path) -> None:
    """The same pictures at the same time. Red when one reads what another writes, or each takes the whole limit."""
    (first, size), (second, _) = run_ranks(2, _look_often, tmp_path / "shared", 1.0, 0)
    for a, b in zip(first, second, strict=True):  # one may have found half of a batch
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert all(file.suffix == ".safetensors" for file in files(tmp_path / "shared"))
    (_, limited), _ = run_ranks(2, _look_often, tmp_path / "limited", size / 1e9, 100)
    assert 0.5 * size < limited <= size  # a rank that begins when the other is done has half of the rest


@pytest.mark.parametrize("kind", ["cycle", "refer", "caption"])
def test_training_does_not_notice_it(tmp_path: Path, kind: Any) -> None:
    """Losses and gradients, on the first and on the second visit, still pictures and two frames.

    Red when a feature is wrong, or autograd loses the projector or the decoder behind it.
    """
    cache = dict(folder=str(tmp_path), max_gb=1)
    plain, model = tiny_pseudo_gumbel(), tiny_pseudo_gumbel(sa2va=dict(feature_cache=cache))
    model.load_state_dict(plain.state_dict())  # it is not part of checkpoints; LoRA starts at random
    for batch in (tiny_batch(kind), tiny_batch(kind, two_frames=True)):
        expected = _gradients(plain, batch)
        for _ in range(2):
            got = _gradients(model, batch)
            for name, value in expected.items():
                torch.testing.assert_close(got[name], value, atol=1e-6, rtol=1e-5)


def _gradients(model: Any, batch: Any) -> dict[str, torch.Tensor]:
    model.zero_grad(set_to_none=True)
    losses = model(batch, mode="loss")
    torch.stack([value for name, value in losses.items() if name.startswith("loss")]).sum().backward()
    return {**losses, **{name: p.grad for name, p in model.named_parameters() if p.grad is not None}}


def test_a_trained_tower_is_refused(tmp_path: Path) -> None:
    """Red when features of the first step are trained on for the rest of the run."""
    for part in ("vision_tower", "sam2"):
        with pytest.raises(ConfigError, match=f"'{part}' with a feature_cache"):
            cached(tmp_path, trainable=[part])


def test_zero3_is_refused(tmp_path: Path) -> None:
    """By the command line and under ``xtuner train``. Red when a rank waits for one that read its features."""
    cfg = launch.load_config(str(ROOT / "configs/pseudo_gumbel_tiny.py"))
    cfg.model.sa2va.feature_cache = dict(folder=str(tmp_path), max_gb=1)
    use_deepspeed(cfg, "zero2")
    ConfigCheckHook().before_run(type("Runner", (), {"cfg": cfg}))
    cfg.strategy.config["zero_optimization"]["stage"] = 3
    with pytest.raises(ConfigError, match="under ZeRO-3"):
        ConfigCheckHook().before_run(type("Runner", (), {"cfg": cfg}))
    cfg = launch.load_config(str(ROOT / "configs/pseudo_gumbel_tiny.py"))
    cfg.model.sa2va.feature_cache = dict(folder=str(tmp_path), max_gb=1)
    with pytest.raises(ConfigError, match="under ZeRO-3"):
        use_deepspeed(cfg, "zero3")


def test_a_model_without_memory_writes_nothing(tmp_path: Path) -> None:
    """Red when a dry run makes folders, or asks tensors without values for their fingerprint."""
    cfg = launch.load_config(str(ROOT / "configs/pseudo_gumbel_tiny.py"))
    cfg.model.sa2va.feature_cache = dict(folder=str(tmp_path / "cache"), max_gb=1)
    build_skeleton(cfg)
    assert not (tmp_path / "cache").exists()

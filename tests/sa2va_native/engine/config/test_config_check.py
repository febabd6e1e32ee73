"""Misspelt keys are errors that name the key, its place and the nearest known name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from sa2va_native.engine.config.config_check import check_config, parameters_of, sa2va_config
from sa2va_native.engine.run.xtuner_guest import missing_for_xtuner
from sa2va_native.errors import ConfigError
from sa2va_native.files.paths import ROOT
from tests.toy import toy_config


def test_the_toy_config_passes(tmp_path: Path) -> None:
    check_config(toy_config(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_dataloder": {}}, r"train_dataloder = .* is unknown. Did you mean 'train_dataloader'\?"),
        ({"model.droput": 0.5}, r"model.droput = 0.5: ToyModel has no parameter 'droput'. Did you mean 'dropout'\?"),
        ({"train_dataloader.batchsize": 3}, r"train_dataloader.batchsize = 3 .*Did you mean 'batch_size'\?"),
        ({"train_dataloader.batch_sampler.pattren": 1}, "ToyBatches has no parameter 'pattren'"),
        ({"optim_wrapper.optimizer.lrr": 1.0}, "AdamW has no parameter 'lrr'. Did you mean 'lr'"),
        ({"optim_wrapper.accumulative_count": 4}, "Did you mean 'accumulative_counts'"),
        ({"default_hooks.logger.intervall": 4}, "default_hooks.logger.intervall = 4: StepLoggerHook has no parameter"),
        ({"default_hooks.checkpoint.max_keep_ckpt": 4}, "Did you mean 'max_keep_ckpts'"),
        ({"train_cfg.max_iters": 4}, r"train_cfg.max_iters = 4: TrainLoop has no parameter 'max_iters'. .*max_steps"),
        ({"randomness.sed": 4}, "randomness.sed = 4 is unknown. Did you mean 'seed'"),
        ({"env_cfg.cudnn_benchmarks": True}, "Did you mean 'cudnn_benchmark'"),
        ({"model.type": "NoSuchModel"}, "'NoSuchModel' is not registered and cannot be imported"),
        ({"model.type": "tests.toy.NoSuchModel"}, "'tests.toy.NoSuchModel' is not registered"),
        ({"model.type": 5}, "model.type = 5 is not registered"),
        ({"param_scheduler": [{"type": "LinearLR", "strat_factor": 1}]}, r"param_scheduler\[0\].strat_factor"),
    ],
)
def test_unknown_keys_are_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    cfg = toy_config(tmp_path)
    cfg.merge_from_dict(change)
    with pytest.raises(ConfigError, match=message):
        check_config(cfg)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((), None, r"config key model\.estimator = None: PseudoGumbel takes a dict there"),
        ((), "abc", r"config key model\.estimator = 'abc': PseudoGumbel takes a dict there"),
        (("sa2va", "mllm"), None, r"config key model\.sa2va\.mllm = None: Sa2VA takes a dict there"),
        (("sa2va", "lora"), 5, r"config key model\.sa2va\.lora = 5: Sa2VA takes a dict there"),
        (("reader",), None, None),
    ],
)
def test_a_part_that_is_none_is_named(place: tuple[str, ...], value: Any, message: str | None) -> None:
    """Red when the run ends without the place: ``TypeError: cfg should be a dict, but got NoneType``."""
    cfg = Config.fromfile(ROOT / "configs/pseudo_gumbel_tiny.py")
    *path, key = place or ("estimator",)
    where = cfg.model
    for name in path:
        where = where[name]
    where[key] = value
    if message is None:
        return check_config(cfg)
    with pytest.raises(ConfigError, match=message):
        check_config(cfg)


def test_builder_keys_and_helpers_pass(tmp_path: Path) -> None:
    """Red for a checker that refuses what MMEngine's builders take out of a dict themselves."""
    cfg = toy_config(tmp_path, hooks=[{"type": "IterTimerHook", "priority": 20}])
    cfg.merge_from_dict(
        {
            "_helper": 1,
            "optim_wrapper.clip_grad": {"max_norm": 1.0},
            "optim_wrapper.paramwise_cfg": {"bias_decay_mult": 0.0},
            "param_scheduler": [{"type": "LinearLR", "by_epoch": True, "convert_to_iter_based": True}],
        }
    )
    check_config(cfg)


@pytest.mark.skipif(missing_for_xtuner() is not None, reason=f"`xtuner train` cannot start: {missing_for_xtuner()}")
def test_what_xtuner_adds_for_deepspeed_passes(tmp_path: Path) -> None:
    """Red when ``xtuner train --deepspeed`` is refused for a key that XTuner writes itself."""
    cfg = toy_config(tmp_path)
    cfg.strategy = {"type": "xtuner.engine.DeepSpeedStrategy", "config": {}, "sequence_parallel_size": 1}
    check_config(cfg)


def test_lazy_config_is_checked_without_losing_its_classes(tmp_path: Path) -> None:
    path = tmp_path / "lazy.py"
    path.write_text("from tests.toy import ToyModel\nmodel = dict(type=ToyModel, bad_step=(1,))\n")
    with pytest.raises(ConfigError, match="Did you mean 'bad_steps'"):
        check_config(Config.fromfile(str(path)))


def test_keywords_are_followed_up_the_inheritance() -> None:
    class Base:
        def __init__(self, a: int, b: int = 0) -> None: ...

    class Child(Base):
        def __init__(self, c: int, **kwargs: Any) -> None: ...

    class Open(Base):
        def __init__(self, **kwargs: Any) -> None: ...

    class OpenEnd:
        def __init__(self, **kwargs: Any) -> None: ...

    assert parameters_of(Child) == {"a", "b", "c"}
    assert parameters_of(Open) == {"a", "b"}
    assert parameters_of(OpenEnd) == set()


def test_sa2va_is_found_by_class_at_any_depth() -> None:
    """Red when it is looked for under the name that one method gives it."""
    inner = {"type": "sa2va_native.models.sa2va.Sa2VA", "tokenizer": "t"}
    wrapped = {"model": {"type": "tests.toy.ToyModel", "parts": [{"type": "tests.toy.ToyModel", "any": inner}]}}
    assert sa2va_config(wrapped) is inner
    assert sa2va_config({"model": inner}) is inner
    assert sa2va_config({"model": {"type": "tests.toy.ToyModel"}}) is None

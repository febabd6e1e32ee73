"""The arms of the experiment, as data: what each trains, and how it differs from a shipped config."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sa2va_native.errors import ConfigError, did_you_mean

#: Base weights that every arm starts from, by name.
BASES = {
    "shipped": "assets/tiny/sa2va_tiny.safetensors",
    "partner": "assets/tiny/sa2va_tiny_partner.safetensors",
}
STEPS = 100

_WARM_UP = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 10}
_COSINE = {"type": "CosineAnnealingLR", "eta_min": 0.0, "by_epoch": False, "begin": 10}
#: What the experiment calls a schedule, as values of the config.
SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {"param_scheduler": [_WARM_UP], "optim_wrapper.paramwise_cfg": None},
    "cosine": {  # to zero at the last step; the mask side learns at a tenth
        "param_scheduler": [_WARM_UP, _COSINE],
        "optim_wrapper.paramwise_cfg": {
            "custom_keys": {"mask_decoder": {"lr_mult": 0.1}, "text_hidden_fcs": {"lr_mult": 0.1}}
        },
    },
}
RATES = (1e-4, 3e-4, 1e-3, 3e-3)
_LR = "optim_wrapper.optimizer.lr"


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Args:
        name: also the folder of its runs.
        says: one sentence for the tables.
        config: name of a shipped config.
        values: what differs from it, dotted key -> value; a dict replaces the whole entry.
        steps: optimizer steps; 0 evaluates the base.
        bases: names of the base weights it makes sense for.
    """

    name: str
    says: str
    config: str
    values: Mapping[str, Any] = field(default_factory=dict)
    steps: int = STEPS
    bases: tuple[str, ...] = tuple(BASES)

    def differing(self, name: str, says: str, values: Mapping[str, Any] | None = None, steps: int | None = None) -> Arm:
        """This arm with other values on top."""
        steps = self.steps if steps is None else steps
        return replace(self, name=name, says=says, values={**self.values, **(values or {})}, steps=steps)


def schedule(lr: float, shape: str) -> dict[str, Any]:
    """Values that set a learning rate and its schedule, whatever the config has."""
    return {_LR: lr, **SCHEDULES[shape]}


RECIPE = schedule(1e-3, "cosine")
#: What protects the reader and the language in word trials, for estimators whose config does not say it.
_PROTECTED = {
    **RECIPE,
    "model.reader": {"type": "pseudo_gumbel.readers.TeacherReader"},
    "model.cost": {"type": "pseudo_gumbel.costs.AllPixelCost"},
    "model.mask_ratio": 0.0,
}
_SCENES = "sa2va_native.datasets.adapters.scenes"
_TRUE_CAPTIONS = {
    "train_dataloader.dataset.sources": [
        {"kind": "caption", "dataset": {"type": f"{_SCENES}.SceneMasks", "split": "labelled", "text_key": "caption"}},
        {"kind": "refer", "dataset": {"type": f"{_SCENES}.SceneExpressions", "split": "labelled"}},
    ],
    "train_dataloader.batch_sampler.pattern": ("caption", "refer"),
}
_ANOTHER_MASK = {"type": "pseudo_gumbel.costs.AnotherMask"}

_LABELLED = Arm("labelled", "Labelled only, lr 1e-4, constant.", "sa2va_tiny")
_UNIFORM = _LABELLED.differing(
    "labelled_uniform",
    "Labelled only, mask loss on points drawn uniformly instead of where the mask is undecided.",
    {"model.mask_loss": {"num_points": 4096, "oversample": 1.0, "importance": 0.0}},
)
_TRIALS = Arm("word_trials", "Word trials beside human expressions.", "word_trials_tiny", RECIPE)
_BACK = Arm(
    "word_trials_refer_back",
    "Word trials, and captions that lead back become referring expressions.",
    "word_trials_refer_back_tiny",
    RECIPE,
)
_MASKS = Arm(
    "word_trials_masks",
    "Word trials and ReferBack from masks alone, without a human expression: the recommended recipe.",
    "word_trials_masks_tiny",
    RECIPE,
)
_SOFT = Arm(
    "soft_gumbel", "Soft Gumbel words, temperature 2, four draws a caption.", "soft_gumbel_tiny", bases=("partner",)
)
_SOFT_MASKS = Arm(
    "soft_gumbel_masks",
    "Soft words and ReferBack from masks alone, without a human expression.",
    "soft_gumbel_masks_tiny",
    bases=("partner",),
)


def _trials_with(name: str, says: str, estimator: str) -> Arm:
    """Another estimator of the same kind in the recipe."""
    return _TRIALS.differing(name, says, {"model.estimator": {"type": f"pseudo_gumbel.estimators.{estimator}"}})


CORE = (
    Arm("base", "The weights that every arm starts from.", "sa2va_tiny", steps=0),
    _LABELLED,
    Arm("specified", "The cycle as specified: straight-through words, lr 1e-4.", "pseudo_gumbel_tiny"),
    _TRIALS,
    _SOFT,
    Arm("labelled_recipe", "Labelled only, at the recipe's schedule.", "sa2va_tiny", RECIPE),
    _UNIFORM,
    Arm("self_training", "Self-training on the teacher's hard captions.", "ablations/self_training"),
    Arm("another_mask", "Control: the specified cycle, held against another sample's masks.", "ablations/another_mask"),
    _TRIALS.differing(
        "word_trials_another_mask",
        "Control: word trials, held against another sample's masks.",
        {"model.cost": {**_ANOTHER_MASK, "cost": {"type": "pseudo_gumbel.costs.AllPixelCost"}}},
    ),
    Arm("detached_words", "The specified words, gradient to the captioner cut.", "ablations/detached_words"),
    Arm("specified_teacher_reader", "The specified cycle, read by the teacher.", "ablations/teacher_mask_side"),
    Arm("self_training_recipe", "Self-training, at the recipe's schedule.", "ablations/self_training", RECIPE),
    Arm("score_function", "Score function with leave-one-out, in the recipe.", "score_function_tiny", _PROTECTED),
    _BACK,
    _MASKS,
    _SOFT_MASKS,
    Arm(
        "oracle",
        "Not a method: true captions of the labelled scenes, by language loss, at the recipe's schedule.",
        "sa2va_tiny",
        {**RECIPE, **_TRUE_CAPTIONS},
    ),
    _UNIFORM.differing(
        "oracle_refer",
        "Not a method: labelled_uniform, with the true expressions of 1,500 more scenes, of all combinations.",
        {
            "train_dataloader.dataset.sources": [
                {"kind": "refer", "dataset": {"type": f"{_SCENES}.SceneExpressions", "split": split}}
                for split in ("labelled", "pretrain")
            ]
        },
    ),
    _trials_with("expected_cost", "The expected cost of the tried words, in the recipe.", "ExpectedCost"),
    _trials_with("best_of_n", "The cheapest of 4 sampled captions as the target, in the recipe.", "BestOfN"),
)

_REFER_BACK = {"type": "pseudo_gumbel.refer_back.ReferBack", "weight": 1.0}

#: One change at a time: name, what it is, values, steps.
_Change = tuple[str, str, dict[str, Any], int | None]
_TRIALS_CHANGES: tuple[_Change, ...] = (
    ("ema_0", "EMA 0: the teacher is the student", {"default_hooks.ema_teacher.decay": 0.0}, None),
    ("ema_.999", "EMA .999", {"default_hooks.ema_teacher.decay": 0.999}, None),
    ("corruption_.25", "a quarter of the words corrupted", {"model.mask_ratio": 0.25}, None),
    ("corruption_.5", "half of the words corrupted", {"model.mask_ratio": 0.5}, None),
    ("k_4", "4 candidates", {"model.estimator.candidates": 4}, None),
    ("k_16", "16 candidates", {"model.estimator.candidates": 16}, None),
    ("beta_.03", "beta .03", {"model.estimator.beta": 0.03}, None),
    ("beta_.3", "beta .3", {"model.estimator.beta": 0.3}, None),
    ("positions_2", "two positions at a time", {"model.estimator.positions": 2}, None),
    ("reader_student", "read by the student", {"model.reader": {"type": "pseudo_gumbel.readers.StudentReader"}}, None),
    (
        "reader_frozen",
        "read by the initial weights",
        {
            "model.reader": {"type": "pseudo_gumbel.readers.FrozenReader"},
            "default_hooks.frozen_reader": {"type": "pseudo_gumbel.hooks.frozen_reader_hook.FrozenReaderHook"},
        },
        None,
    ),
    (
        "cost_points",
        "cost on uncertain points",
        {"model.cost": {"type": "pseudo_gumbel.costs.UncertainPointCost", "num_points": 196}},
        None,
    ),
    ("cost_soft_iou", "soft IoU as cost", {"model.cost": {"type": "pseudo_gumbel.costs.SoftIouCost"}}, None),
    (
        "cost_contrast",
        "contrast to the picture's other objects as cost",
        {
            "model.cost": {"type": "pseudo_gumbel.costs.InPictureContrast", "temperature": 0.1},
            "model.estimator.beta": 1.0,
            "train_dataloader.dataset.with_others": True,
        },
        None,
    ),
    (
        "reader_refreshed",
        "read by a copy of the student, renewed every 50 steps",
        {
            "model.reader": {"type": "pseudo_gumbel.readers.RefreshedReader"},
            "default_hooks.refreshed_reader": {
                "type": "pseudo_gumbel.hooks.refreshed_reader_hook.RefreshedReaderHook",
                "interval": 50,
            },
        },
        None,
    ),
    ("supervised_.25", "labelled losses at a quarter", {"model.supervised_weight": 0.25}, None),
    (
        "refer_back",
        "captions that lead back become referring expressions, labelled losses in full",
        {"model.regularizers": [{**_REFER_BACK, "min_iou": 0.6}]},
        None,
    ),
    ("lr_3e-4", "lr 3e-4", {_LR: 3e-4}, None),
    ("lr_3e-3", "lr 3e-3", {_LR: 3e-3}, None),
    ("constant", "lr 1e-3 constant, the mask side too", schedule(1e-3, "constant"), None),
    ("steps_30", "30 steps", {}, 30),
    ("steps_300", "300 steps", {}, 300),
    ("steps_1000", "1,000 steps", {}, 1000),
)
_SOFT_POINTS = {"num_points": 196, "bce_weight": 6.0, "dice_weight": 1.5}
_SOFT_PIXELS = {"type": "pseudo_gumbel.costs.AllPixelCost", "bce_weight": 6.0, "dice_weight": 1.5}
_SOFT_CHANGES: tuple[_Change, ...] = (
    ("tau_1", "temperature 1", {"model.estimator.temperature": 1.0}, None),
    ("draws_1", "one draw a caption", {"model.estimator.draws": 1}, None),
    (
        "cost_points",
        "cost on uncertain points",
        {"model.cost": {"type": "pseudo_gumbel.costs.UncertainPointCost", **_SOFT_POINTS}},
        None,
    ),
    ("corruption_.25", "a quarter of the words corrupted", {"model.mask_ratio": 0.25}, None),
    (
        "another_mask",
        "control: another sample's masks",
        {"model.cost": {**_ANOTHER_MASK, "cost": _SOFT_PIXELS}},
        None,
    ),
    (
        "straight_through",
        "hard words with the same gradient path",
        {"model.estimator.type": "pseudo_gumbel.estimators.StraightThroughGumbel"},
        None,
    ),
)


def _changed(arm: Arm, title: str, changes: Sequence[_Change]) -> list[Arm]:
    return [arm.differing(f"{arm.name}/{name}", f"{title}, {says}.", values, n) for name, says, values, n in changes]


#: Captions become labels only once they are good: this takes more steps, of the controls too.
_LONG: _Change = ("steps_300", "300 steps", {}, 300)
_BACK_CHANGES: tuple[_Change, ...] = (
    _LONG,
    (
        "unfiltered_300",
        "300 steps, and all captions that touch their object count",
        {"model.regularizers": [{**_REFER_BACK, "min_iou": 0.0}]},
        300,
    ),
)

ABLATIONS = (
    *_changed(_LABELLED, "Labelled only", [_LONG]),
    *_changed(_BACK, "ReferBack", _BACK_CHANGES),
    *_changed(_TRIALS, "Word trials", _TRIALS_CHANGES),
    *_changed(_SOFT, "Soft Gumbel words", _SOFT_CHANGES),
)


#: The same arms at another schedule, and what is no method.
NO_GRID = ("labelled_recipe", "self_training_recipe", "oracle", "oracle_refer")


def _at(arm: Arm, name: str, lr: float, shape: str) -> Arm:
    return arm.differing(f"{arm.name}/{name}", f"{arm.says[:-1]}; lr {lr:g}, {shape}.", schedule(lr, shape))


def grid(arms: Iterable[Arm]) -> tuple[Arm, ...]:
    """Each arm at each rate and schedule: the same budget for all."""
    return tuple(
        _at(arm, f"lr_{lr:g}_{shape}", lr, shape)
        for arm in arms
        if arm.steps and arm.name not in NO_GRID
        for lr in RATES
        for shape in SCHEDULES
    )


def best(chosen: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> tuple[Arm, ...]:
    """The arms at the schedules that validation scenes chose.

    Args:
        chosen: base -> arm -> ``lr`` and ``shape``, see :mod:`pseudo_gumbel.experiment.choose`.
    """
    core = {arm.name: arm for arm in CORE}
    # Bases may differ in their choice: then the arms do, and each is run on its base alone.
    return tuple(
        replace(_at(core[name], f"best_{base}", one["lr"], one["shape"]), bases=(base,))
        for base, by_arm in chosen.items()
        for name, one in by_arm.items()
        if name in core
    )


#: The schedules that were chosen on validation scenes, before a test split was read.
CHOSEN = Path(__file__).with_name("chosen.json")


def _chosen() -> dict[str, dict[str, dict[str, Any]]]:
    return json.loads(CHOSEN.read_text(encoding="utf-8")) if CHOSEN.is_file() else {}


GROUPS = {"core": CORE, "ablations": ABLATIONS, "grid": grid(CORE), "best": best(_chosen())}


def find(names: Sequence[str] | None, groups: Iterable[str]) -> list[Arm]:
    """The arms of the groups whose names match, in the tables' order.

    Args:
        names: as typed, ``*`` allowed; None for all. A name that only another group has is found there.

    Raises:
        ConfigError: a name matches nothing.
    """
    groups = list(groups)
    arms = [arm for group in groups for arm in GROUPS[group]]
    if names is None:
        return arms
    everything = [*arms, *(arm for group in GROUPS if group not in groups for arm in GROUPS[group])]
    chosen: list[Arm] = []
    for name in names:
        among = arms if any(fnmatchcase(arm.name, name) for arm in arms) else everything
        if not (matching := [arm for arm in among if fnmatchcase(arm.name, name)]):
            raise ConfigError(f"--arms {name}: no such arm. {did_you_mean(name, [arm.name for arm in everything])}")
        chosen += matching
    return sorted(set_of(chosen), key=everything.index)


def set_of(arms: Sequence[Arm]) -> list[Arm]:
    """Without repetitions."""
    return list({arm.name: arm for arm in arms}.values())

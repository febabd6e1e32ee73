"""The arms of the experiment, as data: what each trains, and how it differs from a shipped config."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
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
_TRIALS = Arm("word_trials", "Word trials, the recommended recipe.", "word_trials_tiny", RECIPE)
_SOFT = Arm("soft_gumbel", "Soft Gumbel words, several draws a caption.", "soft_gumbel_tiny", bases=("partner",))
_SPECIFIED = Arm("specified", "The cycle as specified: straight-through words, lr 1e-4.", "pseudo_gumbel_tiny")
_ANOTHER_MASK = {
    "model.cost": {
        "type": "pseudo_gumbel.costs.AnotherMask",
        "cost": {"type": "pseudo_gumbel.costs.AllPixelCost"},
    }
}

CORE = (
    Arm("base", "The weights that every arm starts from.", "sa2va_tiny", steps=0),
    Arm("labelled", "Labelled only, lr 1e-4, constant.", "sa2va_tiny"),
    _SPECIFIED,
    _TRIALS,
    _SOFT,
    Arm("labelled_recipe", "Labelled only, at the recipe's schedule.", "sa2va_tiny", RECIPE),
    Arm("self_training", "Self-training on the teacher's hard captions.", "ablations/self_training"),
    Arm("another_mask", "Control: the specified cycle with another sample's masks.", "ablations/another_mask"),
    _TRIALS.differing("word_trials_another_mask", "Control: word trials with another sample's masks.", _ANOTHER_MASK),
    Arm("detached_words", "The specified words, gradient to the captioner cut.", "ablations/detached_words"),
    Arm("specified_teacher_reader", "The specified cycle, read by the teacher.", "ablations/teacher_mask_side"),
    Arm("score_function", "Score function, leave-one-out, at the recipe's schedule.", "score_function_tiny", RECIPE),
    Arm(
        "expected_cost",
        "The exact expectation over the tried words, at the recipe's schedule.",
        "word_trials_tiny",
        {**RECIPE, "model.estimator": {"type": "pseudo_gumbel.estimators.ExpectedCost"}},
    ),
    Arm(
        "best_of_n",
        "The best of N sampled captions as target, at the recipe's schedule.",
        "word_trials_tiny",
        {**RECIPE, "model.estimator": {"type": "pseudo_gumbel.estimators.BestOfN"}},
    ),
    Arm("self_training_recipe", "Self-training, at the recipe's schedule.", "ablations/self_training", RECIPE),
)

_TRIALS_ABLATIONS: tuple[tuple[str, str, dict[str, Any], int | None], ...] = (
    ("ema_0", "EMA 0: the teacher is the student", {"default_hooks.ema_teacher.decay": 0.0}, None),
    ("ema_.999", "EMA .999", {"default_hooks.ema_teacher.decay": 0.999}, None),
    ("corruption_.25", "a quarter of the words corrupted", {"model.mask_ratio": 0.25}, None),
    ("corruption_.5", "half of the words corrupted", {"model.mask_ratio": 0.5}, None),
    ("k_4", "4 candidates", {"model.estimator.candidates": 4}, None),
    ("k_16", "16 candidates", {"model.estimator.candidates": 16}, None),
    ("beta_.03", "beta .03", {"model.estimator.beta": 0.03}, None),
    ("beta_.3", "beta .3", {"model.estimator.beta": 0.3}, None),
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
    ("lr_3e-4", "lr 3e-4", {_LR: 3e-4}, None),
    ("lr_3e-3", "lr 3e-3", {_LR: 3e-3}, None),
    ("constant", "lr 1e-3 constant, the mask side too", schedule(1e-3, "constant"), None),
    ("steps_30", "30 steps", {}, 30),
    ("steps_300", "300 steps", {}, 300),
    ("steps_1000", "1,000 steps", {}, 1000),
)
ABLATIONS = tuple(
    _TRIALS.differing(f"word_trials/{name}", f"Word trials, {says}.", values, steps)
    for name, says, values, steps in _TRIALS_ABLATIONS
)


def grid(arms: Sequence[Arm]) -> tuple[Arm, ...]:
    """Each arm at each rate and schedule: the same budget for all."""
    return tuple(
        arm.differing(f"{arm.name}/lr_{lr:g}_{shape}", f"{arm.says[:-1]}; lr {lr:g}, {shape}.", schedule(lr, shape))
        for arm in arms
        if arm.steps
        for lr in RATES
        for shape in SCHEDULES
    )


GROUPS = {"core": CORE, "ablations": ABLATIONS, "grid": grid([arm for arm in CORE if "recipe" not in arm.name])}


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

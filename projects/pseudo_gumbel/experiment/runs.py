"""One run of the experiment: its config, its two commands and its result file."""

from __future__ import annotations

import ast
import hashlib
import json
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pseudo_gumbel.experiment.arms import BASES, GROUPS, Arm, find
from sa2va_native.engine.config.find_config import find_config
from sa2va_native.engine.config.reading import inheritance, parse_config
from sa2va_native.errors import ConfigError
from sa2va_native.files.atomic import atomic_write
from sa2va_native.files.paths import resolve

RESULT = "result.json"
#: More than the scenes take (2 GB).
FEATURES_GB = 10
#: One process with the micro-batch of two ranks of 8.
BATCH_SIZE = 16
_PACKAGES = ("torch", "transformers", "mmengine", "peft", "numpy")

#: Runs a command with its output in a log; returns CPU seconds; raises :class:`RunFailed`.
Call = Callable[[Sequence[str], Path], float]


class RunFailed(Exception):
    """A command of a run ended with an error; the message is the end of its log."""


@dataclass(frozen=True, eq=False)  # its own key in a dict
class Run:
    """An arm trained from one base with one seed, and evaluated on some splits.

    Args:
        folder: of the whole experiment; the run has its own below it.
        controls: what cycle IoU is compared with, see ``--controls`` of ``tools/test.py``.
        features: folder of the training pictures' features, see :mod:`pseudo_gumbel.experiment.features`; None to
            compute them in each run.
    """

    arm: Arm
    base: str
    seed: int
    splits: tuple[str, ...]
    folder: Path
    controls: tuple[str, ...] = ()
    features: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.base}/{self.arm.name}/seed_{self.seed}"

    @property
    def place(self) -> Path:
        return self.folder / self.name

    @staticmethod
    def seconds(result: dict[str, Any]) -> float:
        """How long a run took."""
        return float(result["seconds"]["train"] + result["seconds"]["test"])

    @property
    def result_file(self) -> Path:
        return self.place / RESULT

    def config(self) -> str:
        """The run's config: a child of the arm's with what differs."""
        module = f"pseudo_gumbel.configs.{self.arm.config.replace('/', '.')}"
        lines = [f'"""{self.arm.says} From the {self.base} base."""', "", "from mmengine.config import read_base", ""]
        lines += ["with read_base():", f"    from {module} import *", ""]
        lines += [f"train_dataloader.update(batch_size={BATCH_SIZE})"]
        lines += ['default_hooks.pop("caption_panel", None)', f'default_hooks["checkpoint"]["interval"] = {10**9}']
        lines += ['visualizer["vis_backends"] = [dict(type="LocalVisBackend")]']
        lines += [_assignment(key, value) for key, value in self.arm.values.items()]
        lines += [_SPLITS.format(splits=self.splits)]
        return "\n".join(lines)

    @cached_property
    def definition(self) -> str:
        """Digest of what the run does, without its splits: a result of another definition does not count.

        It covers the arm, the statements of its config and of all that this inherits, and the base weights; not the
        code, of which a result names the version.
        """
        weights = resolve(BASES[self.base])
        parts = (self.arm.config, sorted(self.arm.values.items()), self.arm.steps, BATCH_SIZE, self.seed)
        return _digest(repr(parts), _statements(self.arm.config), _content(weights) if weights.is_file() else "")

    def result(self) -> dict[str, Any] | None:
        """What an earlier invocation measured; None if there is nothing, or nothing usable, or too few splits."""
        try:
            found = json.loads(self.result_file.read_text(encoding="utf-8"))
            complete = (
                found["definition"] == self.definition
                and set(self.splits) <= set(found["metrics"])
                and set(self.controls) <= set(found.get("controls", ()))
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if complete else None

    def missing(self) -> str | None:
        """Why it cannot run in this checkout; None if it can."""
        try:
            find_config(self.arm.config)
        except ConfigError as error:
            return str(error)
        weights = resolve(BASES[self.base])
        return None if weights.is_file() else f"base {self.base}: {weights} does not exist"

    def commands(self) -> tuple[list[str] | None, list[str]]:
        """How it is trained (None for the base itself) and evaluated, without the interpreter."""
        config, weights = str(self.place / "config.py"), str(resolve(BASES[self.base]))
        work_dir = str(self.place / "train")
        train = ["train", config, "--weights", weights, "--seed", str(self.seed), "--max-steps", str(self.arm.steps)]
        train += ["--deepspeed", "none", "--precision", "fp32", "--work-dir", work_dir]
        train += self.feature_options()
        test = ["test", config, *([work_dir] if self.arm.steps else []), "--weights", weights]
        test += ["--work-dir", str(self.place / "test"), "--out", str(self.place / "metrics.json")]
        test += ["--predictions", str(self.place / "predictions.jsonl")]
        test += ["--controls", *self.controls] if self.controls else []
        return (train if self.arm.steps else None), test

    def feature_options(self) -> list[str]:
        """The cache of features, for training alone: an evaluation's batches are of another size."""
        if self.features is None:
            return []
        cache = f"model.{'' if self.arm.config.startswith('sa2va') else 'sa2va.'}feature_cache"
        return ["--cfg-options", f"{cache}.folder={self.features}", f"{cache}.max_gb={FEATURES_GB}"]

    def perform(self, call: Call, keep: bool = False) -> dict[str, Any]:
        """Train, evaluate, and write the result file; what an earlier attempt left is removed first.

        Args:
            call: runs a command.
            keep: keep the checkpoint.

        Raises:
            RunFailed: a command failed.
        """
        if self.place.exists():
            shutil.rmtree(self.place)
        self.place.mkdir(parents=True)
        (self.place / "config.py").write_text(self.config(), encoding="utf-8")
        train, test = self.commands()
        seconds: dict[str, float] = {}
        for title, command in (("train", train), ("test", test)):
            start = time.monotonic()
            used = 0.0
            if command is not None:
                used = call([sys.executable, "-m", "pseudo_gumbel", *command], self.place / f"{title}.log")
            seconds[f"{title}_cpu"] = round(used, 1)
            seconds[title] = round(time.monotonic() - start, 1)
        result = self._result_of(seconds)
        if not keep:
            for checkpoint in (self.place / "train").glob("iter_*"):
                shutil.rmtree(checkpoint) if checkpoint.is_dir() else checkpoint.unlink()
        with atomic_write(self.result_file) as unfinished:
            unfinished.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        return result

    def _result_of(self, seconds: dict[str, float]) -> dict[str, Any]:
        flat = json.loads((self.place / "metrics.json").read_text(encoding="utf-8"))
        metrics: dict[str, dict[str, float]] = {split: {} for split in self.splits}
        for key, value in flat.items():
            split, _, name = key.partition("/")
            if split in metrics:
                metrics[split][name] = value
        command = ["tools/experiment.py", "--arms", self.arm.name, "--bases", self.base, "--seeds", str(self.seed)]
        command += ["--splits", *self.splits]
        if self.arm.steps != find([self.arm.name], GROUPS)[0].steps:
            command += ["--steps", str(self.arm.steps)]
        return {
            "arm": self.arm.name,
            "base": self.base,
            "seed": self.seed,
            "steps": self.arm.steps,
            "definition": self.definition,
            "controls": self.controls,
            "seconds": seconds,
            "metrics": metrics,
            "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
            "revision": _revision(),
            "command": shlex.join(command),
        }


def _digest(*texts: str) -> str:
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=8).hexdigest()


def _statements(config: str) -> str:
    """Digest of a config and of all that it inherits, without comments and docstrings."""
    trees = [parse_config(file) for file in inheritance(find_config(config))]
    return _digest(*(ast.unparse(one) for tree in trees for one in tree.body[ast.get_docstring(tree) is not None :]))


def _content(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()


def _revision() -> str | None:
    """The commit of this checkout, marked where files were changed since; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


#: The config's test sources and metrics of ``test``, once for each split.
_SPLITS = """
test_dataloader["dataset"]["sources"] = [
    {{**source, "name": split, "dataset": {{**source["dataset"], "split": split}}}}
    for split in {splits!r}
    for source in test_dataloader["dataset"]["sources"]
    if source["name"] == "test"
]
test_evaluator = [
    {{**metric, "source": split}}
    for split in {splits!r}
    for metric in test_evaluator
    if metric.get("source") == "test"
]
"""


def _assignment(key: str, value: Any) -> str:
    first, *rest = key.split(".")
    return f"{first}{''.join(f'[{one!r}]' for one in rest)} = {value!r}"

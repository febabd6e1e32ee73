"""The commands of README and docs/: each one's options exist, and those that can run on a CPU do."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pseudo_gumbel import cli
from sa2va_native.datasets.reading.mask_codec import encode_mask
from sa2va_native.datasets.scenes.scene import make_scene
from sa2va_native.files.paths import ROOT
from tests.doc_blocks import FOREIGN, NOT_RUN, Command, commands
from tests.ranks import call_tool
from tests.test_wheel import SIZES, small

COMMANDS = commands()
RUN = [command for command in COMMANDS if command.why_not is None]
TOOLS = {command.tool: name for name, command in cli.COMMANDS.items()}


class Parsed(Exception):
    """A command line was understood."""


@contextmanager
def only_parsing() -> Iterator[None]:
    """Any parser ends its command as soon as it has understood the command line."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("parse_args", "parse_intermixed_args"):
            parse = getattr(argparse.ArgumentParser, name)

            def and_end(*args: Any, parse: Any = parse, **kwargs: Any) -> None:
                raise Parsed(parse(*args, **kwargs))

            patch.setattr(argparse.ArgumentParser, name, and_end)
        yield


def understand(words: list[str]) -> None:
    """Parses a command line as its command would.

    Raises:
        Parsed: it is understood.
        SystemExit: it is not.
    """
    if words[0] == "torchrun":  # its own options end where ours begin
        start = next(i for i, word in enumerate(words) if word.startswith("tools/") or word == "pseudo-gumbel")
        words = words[start:]
    if words[0].startswith("python") and len(words) > 2 and words[1] == "-m":
        assert importlib.util.find_spec(words[2]), f"no module {words[2]}"
        raise Parsed
    if words[0].startswith("python"):
        if words[1] == "-c":
            compile(words[2], "block", "exec")
            raise Parsed
        words = words[1:]
    name = words[1] if words[0] == "pseudo-gumbel" else TOOLS.get(words[0])
    arguments = words[2:] if words[0] == "pseudo-gumbel" else words[1:]
    if name in ("dist-train", "slurm-train"):
        config, ranks, *options = arguments[name == "slurm-train" :]
        assert ranks.isdecimal()
        name, arguments = "train", [config, *options]
    if name is not None:
        importlib.import_module(f"pseudo_gumbel.cli.{name.replace('-', '_')}").main(arguments, words[0])
    else:
        sys.argv = words
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.page}: {command.text}"[:90])
def test_a_command_of_the_pages_is_understood(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when an option, a script or a choice is renamed and a page still names the old one."""
    words = command.words
    if words[0].startswith("--"):  # options to add to any training command
        words = ["tools/train.py", "CONFIG", *words]
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), flags=re.M)
    elif words[0] not in FOREIGN and words[0] != "[":
        monkeypatch.setattr(sys, "argv", list(sys.argv))
        with only_parsing(), pytest.raises(Parsed):
            understand(words)


def test_every_reason_is_of_a_command() -> None:
    """Red when a reason not to run a command outlives it, or most commands are excused."""
    for pattern in NOT_RUN:
        assert any(re.search(pattern, command.text) for command in COMMANDS), f"no command is {pattern}"
    assert len(RUN) >= 25


#: The tiny config with few scenes, for a command that takes no options of the config.
SMALL = f"""
from mmengine.config import read_base

with read_base():
    from pseudo_gumbel.configs.pseudo_gumbel_tiny import *

for _source in train_dataloader["dataset"]["sources"]:
    _source["dataset"]["settings"] = dict(sizes={SIZES})
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a checkout, with a picture, a region, and own masks in ``mine``."""
    folder = tmp_path_factory.mktemp("blocks")
    for name in ("assets", "configs", "projects", "tests", "tools"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "docs/images", folder / "docs/images")  # some commands draw into it
    frame = make_scene(0, "test", 4).render()
    Image.fromarray(frame.image).save(folder / "scene.png")
    Image.fromarray(frame.masks[0]).save(folder / "region.png")
    (folder / "small.py").write_text(SMALL)
    (folder / "mine").mkdir()
    lines = []
    for number in range(4):
        frame = make_scene(0, "mask_only", number).render()
        Image.fromarray(frame.image).save(folder / f"mine/{number}.png")
        lines.append(json.dumps({"image": f"{number}.png", "mask": encode_mask(np.asarray(frame.masks[0]) > 0)}))
    (folder / "mine/data.jsonl").write_text("\n".join(lines))
    return folder


def trial(words: list[str], place: Path) -> list[str]:
    """The command with the reader's names filled in, and with options that make it short."""
    names = {"/data/mine": str(place / "mine"), "CONFIG": "pseudo_gumbel_tiny"}
    names |= {"PICTURE": "scene.png", "MASK.png": "region.png"}
    words = [names.get(word, word.replace("iter_200.pth", "iter_4.pth")) for word in words]
    name, options = TOOLS.get(words[0]), []
    if name in ("train", "dist-train"):
        options = small("train_dataloader", 2)
        if not any("batch_size" in word for word in words):
            options.append("train_dataloader.batch_size=2")
        if "--max-steps" not in words:
            words += ["--max-steps", "2"]
        if "--load-from" in words:
            words += ["--work-dir", "work_dirs/from_old"]
    elif name == "test":
        options = ["test_dataloader.batch_size=4", *small("test_dataloader", 4)]
    elif name == "diagnose-cycle":
        options = small("train_dataloader", 2)
        words += ["--objects", "4", "--samples", "2", "--probe-steps", "2", "--batch-size", "2"]
    elif name == "browse-data":
        words = [word.replace("configs/pseudo_gumbel_tiny.py", "small.py") for word in words]
    elif words[-1] == "data/scenes":
        words += ["--side", "64"]
    if options and "--cfg-options" not in words:
        words.append("--cfg-options")
    if options:
        where = words.index("--cfg-options") + 1
        words[where:where] = options
    return words


def prepare(words: list[str], place: Path) -> None:
    """Puts there what a reader has and no command before this one made."""
    if "work_dirs/old_run/iter_4.pth" in words:
        shutil.copytree(place / "work_dirs/pseudo_gumbel_tiny", place / "work_dirs/old_run")
    if words[0] == "tools/compare_runs.py":
        made = max(place.rglob("predictions.jsonl"), key=lambda file: file.stat().st_mtime)
        for name in ("base", "run", "other"):
            (place / name).mkdir(exist_ok=True)
            shutil.copy(made, place / name)


@pytest.mark.slow
@pytest.mark.parametrize("page", dict.fromkeys(command.page for command in RUN))
def test_the_commands_of_a_page_run(page: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order; those of earlier pages have run. Red when a page's commands fail or do not fit each other."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("PSEUDO_GUMBEL_CACHE", str(place / "cache"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "projects"))
    for command in (command for command in RUN if command.page == page):
        words = trial(command.words, place)
        prepare(words, place)
        if words[0].startswith("tools/") and words[0].endswith(".py"):
            (ended,) = call_tool(ROOT / words[0], *words[1:], timeout=1200)
            status, output = ended
        else:
            done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200)
            status, output = done.returncode, done.stdout
        assert status == 0, f"{command.text}\nas {' '.join(words)}\n{output[-3000:]}"

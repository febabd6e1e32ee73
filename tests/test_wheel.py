"""The built wheel in its own environment, next to a checkout of Sa2VA, used from another folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from sa2va_native.datasets.scenes.scene import make_scene
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow
SIZES = {"labelled": 6, "mask_only": 8, "test": 2, "test_heldout": 2}
PARTS = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "projects", "configs", "assets")


def small(loader: str, sources: int) -> list[str]:
    """Options that make the generated scenes few."""
    return [
        f"{loader}.dataset.sources.{source}.dataset.settings.sizes.{split}={size}"
        for source in range(sources)
        for split, size in SIZES.items()
    ]


def run(*command: object, cwd: Path, **env: str) -> str:
    """Both streams of a command that must succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, as a build leaves folders behind."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        place = REPOSITORY / part
        if place.is_dir():
            shutil.copytree(place, source / part, symlinks=True, ignore=shutil.ignore_patterns("*.egg-info"))
        else:
            shutil.copy(place, source)
    offline = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation")
    run(sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", built, source, cwd=source)
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of a fresh environment with the wheel; everything else is seen in that of the tests."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, symlinks=True)
    python = environment / "bin/python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", wheel, cwd=environment)
    # A path in a .pth file is not looked through for such files: the checkout's editable installation stays unseen.
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A tree like Sa2VA's, with its names."""
    for file, text in {
        "projects/__init__.py": "",
        "projects/sa2va/__init__.py": "from third_parts import WHOSE",
        "third_parts/__init__.py": "WHOSE = 'theirs'",
    }.items():
        (tmp_path / "theirs" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "theirs" / file).write_text(text)
    return tmp_path / "theirs"


def test_the_wheel_holds_two_packages_and_what_they_need(wheel: Path) -> None:
    """Red when it takes a name that is not ours, lacks a shipped file, or carries caches, tests or docs."""
    names = [Path(name) for name in zipfile.ZipFile(wheel).namelist()]
    assert {name.parts[0] for name in names if ".dist-info" not in name.parts[0]} == {"pseudo_gumbel", "sa2va_native"}
    for folder in ("configs", "assets"):
        here = {
            file.relative_to(REPOSITORY)
            for file in (REPOSITORY / folder).rglob("*")
            if file.is_file() and file.suffix != ".pyc"
        }
        carried = {name.relative_to("pseudo_gumbel") for name in names if name.parts[1] == folder}
        assert carried == here
    assert not [name for name in names if name.suffix == ".pyc" or {"tests", "docs", "tools"} & {*name.parts}]


def test_from_training_to_captions_beside_sa2va(installed: Path, theirs: Path, tmp_path: Path) -> None:
    """Red when the package reads the checkout, hides Sa2VA's modules or is hidden by them, or litters the folder."""
    cwd, cache = tmp_path / "elsewhere", tmp_path / "cache"
    cwd.mkdir()
    env = {"PYTHONPATH": str(theirs), "PSEUDO_GUMBEL_CACHE": str(cache)}

    def call(*arguments: object) -> str:
        return run(installed / "pseudo-gumbel", *arguments, cwd=cwd, **env)

    code = "import projects.sa2va as s, pseudo_gumbel as p, sa2va_native as n; print(s.WHOSE, p.__file__, n.__file__)"
    whose, *ours = run(installed / "python", "-c", code, cwd=cwd, **env).split()
    assert whose == "theirs"
    assert all(Path(file).is_relative_to(installed.parent) for file in ours)

    batches = ["train_dataloader.batch_size=2", *small("train_dataloader", 2)]
    output = call("train", "pseudo_gumbel_tiny", "--max-steps", 2, "--cfg-options", *batches)
    assert f"{cache / 'scenes'}: generated" in output
    run_dir = Path("work_dirs/pseudo_gumbel_tiny")
    assert (cwd / run_dir / "iter_4.pth").exists()

    ranks = ("dist-train", "ablations/soft_words", 1, "--max-steps", 1, "--cfg-options", *batches)
    call(*ranks)  # that a rank finds the package is what counts, so one will do
    assert (cwd / "work_dirs/soft_words/iter_2.pth").is_dir(), "ZeRO-2 writes a folder"

    options = ("--cfg-options", "test_dataloader.batch_size=4", *small("test_dataloader", 4))
    call("test", "pseudo_gumbel_tiny", run_dir, "--out", "metrics.json", *options)
    metrics = json.loads((cwd / "metrics.json").read_text())
    assert 0 <= metrics["test/refer_ciou"] <= 1

    scene = make_scene(0, "test", 0)
    Image.fromarray(scene.render().masks[scene.targets[0]]).save(cwd / "region.png")
    asked = (cache / "scenes/test/images/000000.png", scene.expressions[scene.targets[0]][0], "--mask", "region.png")
    captions = call("infer", *asked, "--model", run_dir).partition("mask region.png: ")[2]
    assert captions.startswith("a ")
    assert sorted(path.name for path in cwd.iterdir()) == ["answers", "metrics.json", "region.png", "work_dirs"]

"""The container's recipe, read as text: it installs what `make install` does, pinned, and runs without root."""

from __future__ import annotations

import re
import shlex
import sys

from sa2va_native.files.paths import ROOT

#: Instructions in order: name and words.
RECIPE = [
    (line.split()[0], line.partition(" ")[2].strip())
    for line in re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)).splitlines()
    if line.strip()
]


def of(instruction: str) -> list[str]:
    return [words for name, words in RECIPE if name == instruction]


def installs() -> list[str]:
    """Each call of pip, in order."""
    return [f"pip{call}" for run in of("RUN") for call in re.findall(r"\bpip( install [^&;|]*)", run)]


def test_the_image_is_pinned_and_has_no_root() -> None:
    """Red when it is built from a moving base, of another Python than the tests, or ends as root."""
    (base,) = of("FROM")
    assert re.fullmatch(rf"python:{sys.version_info[0]}\.{sys.version_info[1]}\.\d+-slim-\w+", base)
    assert of("USER") == ["1000"]
    assert "--uid 1000 user" in of("RUN")[0]
    assert [name for name, _ in RECIPE].index("USER") == 2, "only the system's packages are installed as root"
    assert of("ARG") == ["TORCH_INDEX="], "one argument decides between CPU and CUDA"


def test_it_installs_what_the_makefile_does() -> None:
    """Red when a requirements file is added or moved, or a version is written a second time."""
    make = re.findall(r"-m (pip install .*)", (ROOT / "Makefile").read_text().partition("\ndemo:")[0])
    quiet = [re.sub(r" --quiet| --disable-pip-version-check", "", call) for call in make]
    assert [call.strip() for call in installs() if "torch.txt" not in call] == quiet
    assert "==" not in "".join(installs())
    for word in shlex.split(" ".join(installs())):
        if word.startswith("requirements"):
            assert (ROOT / word).is_file()


def test_torch_of_the_other_index_is_the_pinned_one() -> None:
    """Red when the pattern finds another line than the two pins, or none."""
    (pattern,) = re.findall(r"grep --no-filename -E '([^']+)'", of("RUN")[1])
    files = sorted((ROOT / "requirements").glob("*.txt"))
    found = [line for file in files for line in file.read_text().splitlines() if re.search(pattern, line)]
    assert [line.partition("==")[0] for line in found] == ["torch", "torchvision"]


def test_what_is_copied_is_there_and_is_not_left_out() -> None:
    """Red when the build needs a file that is ignored, or takes along what a checkout collects."""
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    for words in of("COPY"):
        *sources, _ = [word for word in words.split() if not word.startswith("--")]
        for source in sources:
            assert (ROOT / source).exists()
            assert source not in ignored
    collected = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    missing = [name for name in collected if not {name, f"**/{name}"} & {*ignored} and not name.startswith(".venv-")]
    assert not missing
    assert ".venv-*" in ignored

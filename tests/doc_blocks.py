"""The commands of README and docs/, and which of them cannot run in a test, and why."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sa2va_native.files.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Programs that are not ours, so that their own options are not looked at.
FOREIGN = {"make", "source", "tensorboard", "hf", "scontrol", "xtuner", "pip", "docker", "wait"}

#: Why a command is not executed; the first that fits counts. All others are.
NOT_RUN = {
    r"^--": "options, which the test adds to training commands",
    r"^(?!tools/(print_config|model_info)).*4[bB]": "needs 4B weights, or GPUs, or published sets",
    r"slurm_train|scontrol": "needs Slurm",
    r"^hf ": "downloads",
    r"^docker ": "needs a container engine",
    r"HOST ": "needs two machines; tests/sa2va_native/engine/test_several_machines.py has two",
    r"^make ": "installs, or takes as long as all tests",
    r"^source ": "of the reader's shell",
    r"^tensorboard|pseudo-gumbel demo": "a server that does not end",
    r"tests\.browser": "needs Chromium; tests/pseudo_gumbel/web/test_web_page.py drives it",
    r"--val-share|--val-root|data/mine --config": "tests/test_finetune.py follows docs/finetune.md",
    r"xtuner train": "tests/test_xtuner.py runs XTuner's command",
    r"_mid\.py": "a quarter of an hour; tests/test_sizes.py trains this size",
    r"^python benchmarks/": "measures for minutes to hours, or writes figures into a page",
    r"pretrain_tiny": "makes the shipped weights in hours",
    r"experiment\.py": "hours; tests/pseudo_gumbel/experiment runs small ones",
    r"-m gpu": "needs a GPU",
    r"work_dirs/demo": "needs what the demo leaves",
    r"--tracker": "needs an extra; tests/sa2va_native/engine/config/test_trackers.py tries each",
    r"/data/(coco|VOC|sav)|own_data\.py|photos\.py|data/my_coco|data/refcoco": "needs a set of that layout",
    r"out/base": "needs the evaluations of the page's other commands",
    r" BASE RUN ": "names of the reader's; docs/evaluation.md has a pair that runs",
    r"^\[ |^wait$": "belongs to the line before",
}

#: What is between two ``;`` or ``&``, which may stand in quotes.
_PART = re.compile(r"""(?:"[^"]*"|'[^']*'|&&|[^;&"'])+""")


class Command(NamedTuple):
    """A line of a block."""

    page: str
    text: str  #: without comments, continued lines joined

    @property
    def words(self) -> list[str]:
        """The command's words, without variables before them."""
        words = shlex.split(self.text, comments=True)
        while words and re.fullmatch(r"[A-Z_0-9]+=.*", words[0]):
            words = words[1:]
        return words

    @property
    def why_not(self) -> str | None:
        """Why it is not executed; None if it is."""
        return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, self.text)), None)


def commands() -> list[Command]:
    """All of them, in order of pages and lines."""
    return [Command(str(page.relative_to(ROOT)), text) for page in PAGES for text in _of(page)]


def _of(page: Path) -> Iterator[str]:
    inside, language, line = False, "", ""
    for text in page.read_text().splitlines():
        if fence := re.match(r"\s*```(\w*)", text):
            inside, language = not inside, fence[1]
        elif inside and language == "bash":
            line += text
            if line.endswith("\\"):
                line = line[:-1]
                continue
            bare = re.split(r"(?:^|\s)#", line)[0].strip()
            yield from filter(None, map(str.strip, _PART.findall(bare)))
            line = ""

"""The documentation: links lead somewhere, every page can be reached, and the code of the extension pages runs."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.ranks import run_ranks
from tests.toy import toy_config

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TOP = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in TOP), *sorted(DOCS.rglob("*.md"))]
#: Words that name a page or picture of docs/ in code, configs and requirements.
_NAMED = re.compile(r"\bdocs/[\w/.]*\w\.(?:md|png)\b")


def _prose(page: Path) -> str:
    """A page without its code blocks and code spans."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S))


def _links(page: Path) -> list[str]:
    """Targets of a page's links and pictures, those to other sites left out."""
    targets = re.findall(r"\]\(([^)\s]+)\)", _prose(page))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub forms them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _target(page: Path, link: str) -> tuple[Path, str]:
    path, _, anchor = link.partition("#")
    return (page.parent / path).resolve() if path else page, anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    """Red when a page, a picture or a heading is renamed and a link still names the old one."""
    broken = []
    for link in _links(page):
        path, anchor = _target(page, link)
        if not path.exists() or (anchor and anchor not in _anchors(path)):
            broken.append(link)
    assert not broken


def test_every_page_is_reached_from_the_index() -> None:
    """Red when a page is written and no link leads to it, however many clicks away."""
    reached, todo = set(), [DOCS / "index.md"]
    while todo:
        page = todo.pop()
        if page.suffix == ".md" and page.is_file() and page not in reached:
            reached.add(page)
            todo += [_target(page, link)[0] for link in _links(page)]
    assert set(PAGES) <= reached


def test_code_names_pages_that_are_there() -> None:
    """Red when an error message, a help text or a config sends the reader to a page that was moved."""
    files = [
        *(ROOT / "requirements").glob("*.txt"),
        *(file for folder in ("projects", "configs", "tools", "benchmarks") for file in (ROOT / folder).rglob("*.*")),
    ]
    named = {
        (str(file.relative_to(ROOT)), name)
        for file in files
        if file.suffix in (".py", ".sh", ".txt")
        for name in _NAMED.findall(file.read_text())
    }
    assert named
    assert not {(file, name) for file, name in named if not (ROOT / name).is_file()}


def _code(page: str, block: int) -> str:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / "extending" / page).read_text(), flags=re.M | re.S)[block]


def _run(page: str, blocks: int) -> ModuleType:
    """The first Python blocks of an extension page, executed one after another as one module."""
    module = ModuleType(page.removesuffix(".md"))
    for block in range(blocks):
        exec(compile(_code(page, block), f"{page} block {block}", "exec"), vars(module))
    return module


def test_add_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when the page's adapter no longer fits the mixture, the reading functions or ``Sample``."""
    folder = tmp_path / "data" / "folder"
    folder.mkdir(parents=True)
    for number, name in enumerate(["a", "b", "c"]):
        Image.new("RGB", (64, 48), (80 * number, 0, 0)).save(folder / f"{name}.jpg")
        mask = np.zeros((48, 64 - 8 * (number == 2)), np.uint8)
        mask[:24, :32] = 255
        Image.fromarray(mask).save(folder / f"{name}_mask.png")
    monkeypatch.chdir(tmp_path)
    page: Any = _run("data_set.md", 2)
    assert page.batch.sample_ids == ["folder#a", "folder#b"]
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[:4, :4] = True
    assert (page.batch.caption_side.region == expected).all()
    assert page.mixture[2].sample_id == "folder#a"
    assert page.mixture.counts()["bad"] == 1, "c has a mask of another size, and the next item takes its place"


def test_add_a_metric() -> None:
    """Red when the page's metric no longer fits ``PooledMetric``, or scores samples of another kind."""
    page: Any = _run("metric.md", 2)
    page.metric.process(None, page.samples)
    assert page.metric.evaluate(size=3) == {"val/refer_precision": 0.5}


def _train_with_hook(work_dir: Path, steps: int, resume: str | None) -> tuple[float, list[float]]:
    """Peak loss and the losses of all micro-batches, in order."""
    from sa2va_native.engine.run import launch

    _run("hook.md", 1)
    cfg = toy_config(
        work_dir,
        steps,
        batch_size=2,
        accumulation=2,
        hooks=[{"type": "PeakLossHook", "interval": 1}],
        checkpoint_interval=2,
    )
    cfg.launcher = "pytorch"
    launch.use_checkpoint(cfg, resume, None)
    runner = launch.build_runner(cfg)
    losses: list[float] = []

    class Watch:
        priority = 0

        def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any, outputs: dict) -> None:
            losses.append(float(outputs["loss"]))

    runner._hooks.append(Watch())
    runner.train()
    (hook,) = (hook for hook in runner.hooks if type(hook).__name__ == "PeakLossHook")
    return hook.peak, losses


def test_add_a_hook(tmp_path: Path) -> None:
    """Red when the page's hook counts micro-batches, saves one rank's value, or forgets it on resume."""
    first = run_ranks(2, _train_with_hook, tmp_path, 2, None)
    peaks = [max((losses[0] + losses[1]) / 2, (losses[2] + losses[3]) / 2) for _, losses in first]
    assert [peak for peak, _ in first] == pytest.approx(peaks)
    resumed = run_ranks(2, _train_with_hook, tmp_path, 4, "")
    for peak, losses in resumed:
        assert len(losses) == 4, "the run was not resumed"
        own = max((losses[0] + losses[1]) / 2, (losses[2] + losses[3]) / 2)
        assert peak == pytest.approx(max(*peaks, own))

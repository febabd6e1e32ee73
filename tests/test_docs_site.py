"""The documentation as a site: every page is in its navigation, and it builds without a warning."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from sa2va_native.files.paths import ROOT
from tests.test_docs import DOCS, TOP


def entries(nav: Any) -> Iterator[str]:
    """The pages of a navigation, at any depth."""
    if isinstance(nav, str):
        yield nav
    for entry in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from entries(entry)


def test_every_page_is_in_the_navigation() -> None:
    """Red when a page is written and the site's menu does not show it: add a line to mkdocs.yml."""
    listed = list(entries(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    top = {"overview.md", "architecture.md", "contributing.md", "security.md", "changelog.md"}
    assert sorted(listed) == sorted(pages | top)
    assert len(top) == len({*TOP, "CHANGELOG.md"})


def _builder() -> str:
    """A Python that has MkDocs."""
    if all(importlib.util.find_spec(name) for name in ("mkdocs", "material", "mkdocstrings_handlers")):
        return sys.executable
    own = ROOT / ".venv-docs/bin/python"
    if not own.exists():
        pytest.skip("MkDocs is not installed: make docs, or pip install -r requirements/docs.txt")
    return str(own)


class Html(HTMLParser):
    """The anchors and the links of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name == "id":
                self.anchors.add(value)
            elif value and name in ("href", "src") and not re.match("[a-z]+:|//", value):
                self.links.append(value)


@pytest.mark.slow
def test_the_site_builds_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    """Red when a page has a broken link, a docstring is not found, or an anchor is formed otherwise than on a host."""
    command = [_builder(), "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "WARNING" not in built.stderr
    pages = {page: Html(page) for page in tmp_path.rglob("*.html") if page.name != "404.html"}
    assert len(pages) == len([*DOCS.rglob("*.md")]) + 5
    broken = []
    for page, html in pages.items():
        for link in html.links:
            path, _, anchor = link.partition("#")
            target = (page.parent / path.partition("?")[0]).resolve() if path else page
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].anchors):
                broken.append((page.name, link))
    assert not broken
    shown = (tmp_path / "reference/model.html").read_text()
    assert "segment_image" in shown, "no docstring is shown"

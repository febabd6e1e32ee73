"""A hook of MkDocs: pages of the top folder join those of docs/, and links work in both places.

On a code host a page may link to any file of the checkout. The site holds pages and pictures alone, so a link to
anything else becomes its text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[1]
#: Pages of the top folder -> their names in the site.
TOP = {
    "README.md": "overview.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
_FENCED = re.compile(r"^(`{3,}).*?^\1", re.M | re.S)
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\]|!\[[^\]]*\]\([^)]*\))*)\]\(([^)\s]+)\)|(!\[[^\]]*\])\(([^)\s]+)\)")


def on_config(config: Any) -> Any:
    """Anchors are formed as code hosts form them."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages of the top folder."""
    for name, page in TOP.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Rewrites the links of a page, those in code left alone."""
    here = page.file.src_uri
    folder = "" if here in TOP.values() else posixpath.dirname(f"docs/{here}")
    kept, end = [], 0
    for code in _FENCED.finditer(markdown):
        kept += [_relinked(markdown[end : code.start()], folder, here, files), code[0]]
        end = code.end()
    return "".join([*kept, _relinked(markdown[end:], folder, here, files)])


def _relinked(text: str, folder: str, here: str, files: Files) -> str:
    def link(found: re.Match[str]) -> str:
        words, target = (f"[{found[1]}]", found[2]) if found[2] else (found[3], found[4])
        if re.match(r"[a-z]+:|#", target):
            return found[0]
        path, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(folder, path))
        place = TOP.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(place) is None:
            # A page that is missing keeps its link, so that the build fails; a file of the code is no page.
            return found[1] or "" if (ROOT / path).exists() and not path.endswith(".md") else found[0]
        where = posixpath.relpath(place, posixpath.dirname(here) or ".")
        return f"{words}({where}{'#' + anchor if anchor else ''})"

    return _LINK.sub(link, text)

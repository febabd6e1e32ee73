"""A headless Chromium on the page of ``pseudo-gumbel demo``. As a command it makes the picture in the docs:

python -m tests.browser docs/images/web.jpg
"""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from pseudo_gumbel.web.examples import Example, examples

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def missing() -> str | None:
    """What is not installed, and how to install it; None if all is there."""
    for package, file in (
        ("gradio", "--no-deps -r requirements/web.txt"),
        ("playwright", "-r requirements/web_test.txt"),
    ):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed: pip install {file}"
    return None if any(map(shutil.which, NAMES)) else f"no browser is installed: none of {', '.join(NAMES)} is found"


@contextmanager
def served(*options: str) -> Iterator[str]:
    """The page in a process of its own, until the block ends; its address.

    Raises:
        RuntimeError: it ended by itself; with what it said.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pseudo_gumbel", "demo", "--port", str(port), *options]
    path = os.pathsep.join([str(ROOT / "projects"), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("open http"):
                break
        else:
            raise RuntimeError("".join(said))
        threading.Thread(target=process.stdout.read, daemon=True).start()  # or it would wait for a reader
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@contextmanager
def opened(url: str, width: int, height: int) -> Iterator[tuple[Any, list[str]]]:
    """The page in a window of this size, and a list that grows with its errors and its requests to elsewhere."""
    from playwright.sync_api import sync_playwright

    faults: list[str] = []
    with sync_playwright() as playwright:
        executable = next(filter(None, map(shutil.which, NAMES)))
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: faults.append(f"script: {error}"))
        page.on("console", lambda line: faults.append(line.text) if _is_fault(line) else None)
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((f"{url}/", "data:", "blob:"))
                else faults.append(f"elsewhere: {request.url}")
            ),
        )
        page.goto(url)
        page.wait_for_selector(".pg-stage img")
        yield page, faults
        browser.close()


def _is_fault(line: Any) -> bool:
    """Whether a line of the console is an error. Gradio also logs the requests that it has given up itself."""
    return line.type == "error" and not line.text.startswith("AbortError")


def place_of(example: Example, number: int) -> tuple[float, float]:
    """A place on an object, in shares of width and height."""
    pixels = example.objects[number].nonzero()
    height, width = example.objects.shape[1:]
    y, x = (int(axis[len(axis) // 6]) for axis in pixels)
    return (x + 0.5) / width, (y + 0.5) / height


def click(page: Any, place: tuple[float, float]) -> None:
    """Clicks the picture, which has no answer yet, and waits for one."""
    page.locator(".pg-stage").scroll_into_view_if_needed()
    box = page.locator(".pg-stage img").bounding_box()
    page.mouse.click(box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"])
    page.wait_for_selector(".pg-card, .pg-sentence")


def main(file: str) -> None:
    """Writes the picture of the docs: the first scene, after a click on its ring."""
    with served() as url, opened(url, 1200, 900) as (page, _):
        click(page, place_of(examples()[0], 0))
        page.wait_for_timeout(1000)  # transitions
        picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    picture.convert("RGB").save(file, quality=88, subsampling=0)


if __name__ == "__main__":
    if lack := missing():
        sys.exit(lack)
    main(*sys.argv[1:])

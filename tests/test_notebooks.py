"""The notebooks of docs/: small, without outputs, and every cell runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


def cells(notebook: Path, kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(notebook.read_text("utf-8"))["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_is_stored(notebook: Path) -> None:
    """Red when a notebook is committed as Jupyter saved it, with pictures of one machine and one day."""
    assert cells(notebook, "code")
    assert not [cell for cell in cells(notebook, "code") if cell["outputs"] or cell["execution_count"]]


@pytest.mark.slow
def test_ask_the_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Red when a cell no longer fits the library, or shows another thing than it says.

    Cells are executed as they stand, one after another in one namespace, as Jupyter does; no kernel is needed for that.
    """
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    shown = []
    for number, cell in enumerate(cells(ROOT / "docs/notebooks/ask_the_model.ipynb", "code")):
        *_, last = lines = "".join(cell["source"]).splitlines()
        exec(compile("\n".join(lines), f"cell {number}", "exec", dont_inherit=True), names)
        if last.startswith("draw_answer("):
            shown.append(eval(last, names))
    said = capsys.readouterr().out
    assert [type(picture) for picture in shown] == [Image.Image] * 3
    assert names["found"].seen_in == 1
    assert "seen in 5 of 5 frames" in said
    assert max(answer.iou for answer in names["answers"]) > 0.8, said
    assert "partner [" in said

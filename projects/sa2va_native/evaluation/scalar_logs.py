"""What a run logged: its losses and, if it was evaluated while it trained, their figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

#: A name -> (step, value), in order.
Curves = dict[str, list[tuple[int, float]]]


def read_scalars(folder: Path) -> Curves:
    """All scalars of the logs below a folder, as MMEngine's visualizers write them.

    They are ``scalars.json`` of LocalVisBackend and event files of TensorboardVisBackend. A run that was resumed has
    several logs: at a step that two of them have, the later one counts.
    """
    found: dict[str, dict[int, float]] = {}
    for log in sorted(
        {file.parent for name in ("scalars.json", "events.out.tfevents.*") for file in folder.rglob(name)}
    ):
        for name, step, value in _of_log(log):
            found.setdefault(name, {})[step] = value
    return {name: sorted(points.items()) for name, points in found.items()}


def _of_log(folder: Path) -> Iterator[tuple[str, int, float]]:
    file = folder / "scalars.json"
    if not file.is_file():
        yield from _of_events(folder)
        return
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            scalars = json.loads(line)
            step = int(scalars.pop("step"))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # the last line of a run that was killed
        yield from ((name, step, float(value)) for name, value in scalars.items() if isinstance(value, int | float))


def _of_events(folder: Path) -> Iterator[tuple[str, int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 1})
    events.Reload()
    for name in events.Tags()["scalars"]:
        yield from ((name, point.step, point.value) for point in events.Scalars(name))

"""Which texts a cycle IoU is compared with, and what is reported about their readings."""

from __future__ import annotations

import numpy as np
import pytest

from sa2va_native.errors import ConfigError
from sa2va_native.evaluation.controls import derangement, exchange_captions, true_caption
from sa2va_native.evaluation.cycle_metric import CycleMetric
from tests.sa2va_native.evaluation.test_metrics import TRUE, prediction, rows


@pytest.mark.parametrize("count", [2, 3, 7, 300])
def test_nobody_keeps_a_caption_and_none_is_lost(count: int):
    """Red when an ordinary shuffle leaves some objects with their own caption, which lifts the floor."""
    for seed in range(5):
        order = derangement(count, seed)
        assert sorted(order) == list(range(count))
        assert not np.any(order == np.arange(count))


def test_every_exchange_of_four_is_as_likely_as_any_other():
    """Sattolo's cycles: (4 - 1)! = 6. Red when neighbours are preferred: in a scene set they share a picture."""
    drawn, counts = np.unique([derangement(4, seed) for seed in range(6000)], axis=0, return_counts=True)
    assert len(drawn) == 6
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)


def test_the_exchange_does_not_depend_on_who_has_which_caption():
    """Red when captions are exchanged in the order in which ranks give them."""
    captions: dict[int, str | None] = {position: f"caption {position}" for position in (4, 9, 2, 30, 7)}
    captions[7] = None
    exchanged = exchange_captions(captions, 0)
    assert exchanged == exchange_captions(dict(sorted(captions.items())), 0)
    assert exchanged.keys() == captions.keys()
    assert sorted(map(str, exchanged.values())) == sorted(map(str, captions.values()))
    assert all(exchanged[position] != caption for position, caption in captions.items())
    assert any(exchanged != exchange_captions(captions, seed) for seed in (1, 2, 3))


def test_the_only_object_has_nobodys_caption():
    assert exchange_captions({3: "a ring"}, 0) == {3: None}
    assert exchange_captions({}, 0) == {}


def test_the_true_caption_is_the_scenes_and_otherwise_the_human_text():
    """Red when a labelled caption whose colour was replaced with a random one passes for the truth."""
    assert true_caption(TRUE, "a small blue star") == "a small red star"
    assert true_caption({**TRUE, "texture": "dotted"}, None) == "a small dotted red star"
    assert true_caption({"colour": "red"}, "the man in red") == "the man in red"
    assert true_caption({**TRUE, "shape": "zebra"}, None) is None


def scored(*readings: dict[str, tuple[int, int]]) -> dict[str, float]:
    metric = CycleMetric("test", controls=("stranger", "floor", "ceiling"))
    metric.process(None, [prediction(kind="cycle", cycle_mask=rows(1), readings=reading) for reading in readings])
    return metric.evaluate(len(readings))


def test_each_control_is_a_cumulative_iou_and_the_code_is_what_strangers_miss():
    """Own reader: 4 of 8 pixels each. Red when controls are mixed up, or averaged over samples instead of pixels."""
    result = scored(
        {"own": (4, 8), "floor": (0, 8), "ceiling": (8, 8), "stranger": (1, 8)},
        {"own": (4, 8), "floor": (4, 12), "ceiling": (5, 8), "stranger": (3, 8)},
    )
    assert result == pytest.approx(
        {
            "test/cycle_iou": 1 / 2,
            "test/cycle_giou": 1 / 2,
            "test/cycle_floor": 1 / 5,
            "test/cycle_ceiling": 13 / 16,
            "test/cycle_stranger": 1 / 4,
            "test/cycle_code": 1 / 4,
        }
    )


def test_without_true_captions_there_is_no_ceiling():
    """Red when samples that have none count as failed, or NaN reaches a JSON file."""
    none = {"floor": (0, 8), "stranger": (0, 8)}
    assert "test/cycle_ceiling" not in scored(none, none)
    assert scored(none, {**none, "ceiling": (6, 8)})["test/cycle_ceiling"] == 6 / 8


def test_readings_that_nobody_made_are_an_error_and_not_a_missing_figure():
    with pytest.raises(ConfigError, match="CycleTestLoop"):
        CycleMetric(controls=["floor"]).process(None, [prediction(kind="cycle")])
    with pytest.raises(ConfigError, match=r"'flor' is unknown. Did you mean 'floor'"):
        CycleMetric(controls=["flor"])

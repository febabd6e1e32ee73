"""Caption metrics by hand."""

from __future__ import annotations

import math

import pytest

from sa2va_native.evaluation.captions import absent_colour_rate, attribute_accuracy, grammar_rate, texture_accuracy
from sa2va_native.evaluation.diversity import distinct_n

TRUE = {"colour": "red", "shape": "star", "size": "small", "texture": "plain"}


def test_each_attribute_is_scored_by_itself():
    """Red when one wrong word makes the whole caption wrong, or accuracies are swapped."""
    captions = ["a small red star", "a small blue star", "a large blue star", "a small red ring"]
    accuracy = attribute_accuracy(captions, [TRUE] * 4)
    assert accuracy == pytest.approx({"attribute_accuracy": 8 / 12, "colour": 0.5, "shape": 0.75, "size": 0.75})


@pytest.mark.parametrize("caption", [None, "", "a", "a small large red blue star ring"])
def test_no_word_or_two_words_are_wrong(caption: str | None):
    """Red when a caption that lists every colour is right in all of them, or a missing one is skipped."""
    accuracy = attribute_accuracy([caption], [TRUE])
    assert accuracy == {"attribute_accuracy": 0, "colour": 0, "shape": 0, "size": 0}


def test_repeating_the_true_word_is_ungrammatical_but_true():
    """Red when truth and grammar are one figure: collapse into stutter must show in the grammar rate only."""
    assert attribute_accuracy(["a small red red star"], [TRUE])["attribute_accuracy"] == 1
    assert grammar_rate(["a small red red star", "a small red star", None, "a large dotted pink ring"]) == 0.5


def test_no_texture_word_says_plain_but_no_caption_says_nothing():
    """Red when a silent captioner is right about every plain object, or two textures are one."""
    captions = ["a small red star", "a small dotted red star", "a small striped dotted red star", "", None]
    assert texture_accuracy(captions, [TRUE] * 5) == 1 / 5
    assert texture_accuracy(captions, [{**TRUE, "texture": "dotted"}] * 5) == 1 / 5


def test_another_objects_colour_is_wrong_but_not_absent():
    """Red when the wrong object and no object at all are one figure, or the object itself is not counted."""
    captions = ["a small red star", "a small blue star", "a small pink star", "a small star", "a red pink star", None]
    assert absent_colour_rate(captions, [["blue", "red"]] * 6) == 2 / 6


def test_distinct_n_falls_when_captions_collapse():
    assert distinct_n(["a b c", "a b d"], 1) == pytest.approx(4 / 6)
    assert distinct_n(["a b c", "a b d"], 2) == pytest.approx(3 / 4)
    assert distinct_n(["a b"] * 50, 2) == pytest.approx(1 / 50)
    assert distinct_n([None, "a"], 2) == 0


def test_no_samples_are_no_result():
    assert math.isnan(attribute_accuracy([], [])["attribute_accuracy"])
    assert math.isnan(grammar_rate([]))
    assert math.isnan(texture_accuracy([], []))
    assert math.isnan(absent_colour_rate([], []))

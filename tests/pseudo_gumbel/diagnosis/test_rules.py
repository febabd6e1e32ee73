"""Each recommendation can be reached, and for its own reason."""

from __future__ import annotations

from dataclasses import replace
from math import log, nan

import pytest

from pseudo_gumbel import estimators
from pseudo_gumbel.diagnosis import rules
from pseudo_gumbel.diagnosis.figures import Figures, Observations, summarise
from pseudo_gumbel.diagnosis.probe import Probe
from pseudo_gumbel.diagnosis.report import conclusion, table
from pseudo_gumbel.diagnosis.rules import SIZES, STANDS_FOR, Recommendation, config_of
from sa2va_native.files.paths import ROOT

SLOW, FAST = Probe(1e-4, 20, log(0.125), log(0.125) + 0.1), Probe(1e-3, 20, log(0.125), log(0.125) + 1.0)
#: Close to the shipped tiny base: its captioner is blind to colour.
BLIND = Figures(
    objects=48, with_human_text=24, alternatives=6.9, words_matter=0.79, spread=1.1, true_cheapest=0.88,
    true_chance=0.18, entropy=1.8, p_best=0.15, p_chance=0.14, better=0.56, greedy_is_best=0.24,
    p_true=0.23,
    floor=0.13, greedy=0.14, sampled=0.09, best_sampled=0.28, best_word=0.50, greedy_of_human=0.19, human=0.57,
    empty=0.56, elsewhere=0.26, fall=-0.01, sign=0.68, straight_through=0.12, soft=0.29, run_steps=100,
    probes=(SLOW, FAST),
)  # fmt: skip
#: The same with a captioner that sees: its soft words stand where the slope says something.
SEES = replace(BLIND, p_best=0.4, soft=0.6)


def recommend(
    figures: Figures, config: str = "pseudo_gumbel_tiny", own: str = "StraightThroughGumbel"
) -> Recommendation:
    return rules.recommend(figures, config, own)


def test_a_captioner_that_does_not_know_learns_by_trials_alone() -> None:
    """Red when soft or straight-through words are recommended where only values tell words apart."""
    found = recommend(BLIND)
    assert (found.word_trials, found.soft_gumbel, found.specified) == (True, False, False)
    assert found.lines[0].startswith("Word trials will help")


def test_a_captioner_that_knows_learns_by_soft_words_too() -> None:
    """Red when soft words need more than agreement and a mixture of few words, or straight-through is let through."""
    found = recommend(SEES)
    assert (found.word_trials, found.soft_gumbel, found.specified) == (True, True, False)
    assert not recommend(replace(SEES, soft=0.3)).soft_gumbel
    assert not recommend(replace(SEES, p_best=0.2)).soft_gumbel


def test_the_specified_estimator_helps_where_slopes_at_words_are_true() -> None:
    """Red when a slope of the right direction and no size passes, or the reverse, or the wrong one is blamed."""
    smooth = replace(SEES, straight_through=0.7, fall=0.8)
    assert recommend(smooth).specified
    assert not recommend(replace(smooth, fall=0.06)).specified
    assert not recommend(replace(smooth, straight_through=0.1)).specified
    assert "promises 6%" in recommend(replace(smooth, fall=0.06)).lines[2]
    assert "cosine 0.10, at least 0.55" in recommend(replace(smooth, straight_through=0.1)).lines[2]


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (dict(words_matter=0.0, spread=0.0, best_word=0.14), "cannot tell words apart"),
        (dict(true_cheapest=0.2), "a private code"),
        (dict(greedy=0.56, best_word=0.59, greedy_of_human=0.56, human=0.62, better=0.05), "there is no head-room"),
        (dict(better=0.06, greedy_of_human=0.56, human=0.61), "there is no head-room"),
        (dict(best_word=0.15), "no word that the captioner finds likely reaches it"),
        (dict(words_matter=nan, best_word=nan), "cannot tell words apart"),
    ],
)
def test_nothing_helps_and_it_says_why(change: dict[str, float], because: str) -> None:
    """Red when a run is recommended that has nothing to learn, or the wrong reason is given."""
    found = recommend(replace(SEES, **change))
    assert (found.word_trials, found.soft_gumbel, found.specified) == (False, False, False)
    assert found.raise_lr_to is None
    assert because in found.lines[0]


def test_data_without_human_text_are_judged_without_it() -> None:
    """Red when an unknown figure counts as a bad one."""
    unknown = dict(true_cheapest=nan, true_chance=nan, p_true=nan, human=nan, greedy_of_human=nan)
    found = replace(BLIND, **unknown)
    assert recommend(found).word_trials
    assert "human text" not in table(found).partition("\n")[2]
    assert found.as_dict()["human"] is None


def test_the_learning_rate_is_raised_to_the_first_that_moves() -> None:
    """Red when a rate that moves nothing passes, or one that does is raised."""
    assert recommend(BLIND).raise_lr_to == 1e-3
    assert "Raise the learning rate to about 0.001" in conclusion(recommend(BLIND))
    assert recommend(replace(BLIND, probes=(FAST,))).raise_lr_to is None
    assert recommend(replace(BLIND, probes=(FAST,))).moves
    assert "or train longer" in conclusion(recommend(replace(BLIND, probes=(SLOW,))))
    assert recommend(replace(BLIND, probes=(SLOW,), run_steps=1000)).moves, "ten times the steps, ten times the way"
    assert recommend(replace(BLIND, probes=())).moves is None


def test_the_config_to_use_next_is_of_the_same_size() -> None:
    """Red when a config that does not exist is named, or one of another size than the model's."""
    for recipe, sizes in SIZES.items():
        for size in sizes:
            assert (ROOT / config_of(recipe, f"anything_{size}")).is_file()
    assert recommend(BLIND).configs == ("configs/word_trials_tiny.py",)
    assert recommend(SEES).configs == ("configs/word_trials_tiny.py", "configs/soft_gumbel_tiny.py")
    assert recommend(BLIND, "sa2va_mid").configs == ("configs/word_trials_mid.py",)
    assert recommend(BLIND, "mine").configs == ("configs/word_trials_4b.py",)
    assert recommend(BLIND).lines[-1] == "Train next with configs/word_trials_tiny.py."
    assert recommend(replace(BLIND, words_matter=0.0)).configs == ()


@pytest.mark.parametrize(
    ("own", "blind", "sees"),
    [
        ("WordTrials", True, True),
        ("SoftGumbel", False, True),
        ("StraightThroughGumbel", False, False),
        ("BestOfN", None, None),
        (None, None, None),
    ],
)
def test_it_says_whether_the_own_estimator_is_among_them(
    own: str | None, blind: bool | None, sees: bool | None
) -> None:
    """Red when another estimator's verdict is given, or one for an estimator that nobody looked at."""
    assert recommend(BLIND, own=own).own is blind
    assert recommend(SEES, own=own).own is sees
    said = [line for line in recommend(BLIND, own=own).lines if "own estimator" in line]
    assert len(said) == (own is not None)
    assert all(("was not judged" in line) == (blind is None) and str(own) in line for line in said)


def test_the_estimators_that_are_judged_exist() -> None:
    """Red when one is renamed and its verdict lost."""
    assert STANDS_FOR.keys() <= set(estimators.__all__)


def test_figures_of_two_objects_by_hand() -> None:
    """Red when a word that was left out counts, or a mean is taken over the wrong objects."""
    seen = Observations(
        greedy_iou=[0.2, 0.4],
        floor_iou=[0.1],
        sampled_iou=[[0.0, 0.5], [0.3, 0.1]],
        costs=[[1.0, 0.4, nan], [0.5, 0.52, 0.55]],
        ious=[[0.2, 0.8, nan], [0.4, 0.3, 0.2]],
        log_p=[[log(0.7), log(0.3), -1e4], [log(0.5), log(0.3), log(0.2)]],
        entropy=[0.6, 1.0],
        empty=[[1.0, 0.0, nan], [0.0, 0.0, 0.0]],
        elsewhere=[[0.0, 1.0, nan], [1.0, 0.0, 0.0]],
        fall=[0.5, nan],
        human_iou=[0.8, 1.0],
        greedy_of_human_iou=[0.4, 0.4],
        human_costs=[[0.3, 0.9, nan], [0.35, 0.3, 0.31]],  # the second does not matter
        human_log_p=[[log(0.25), log(0.75), -1e4], [log(0.5), log(0.3), log(0.2)]],
    )
    found = summarise(seen, 100)
    expected = dict(
        objects=2, alternatives=2.5, words_matter=0.5, spread=(0.6 + 0.05) / 2, p_best=0.3, p_chance=0.5, better=0.5,
        greedy_is_best=0.0, greedy=0.3, floor=0.1, sampled=0.225, best_sampled=0.4, best_word=0.6, empty=0.2,
        elsewhere=0.4, fall=0.5, true_cheapest=1.0, true_chance=0.5, p_true=0.25, human=0.9, greedy_of_human=0.4,
    )  # fmt: skip
    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected)


def test_nothing_seen_gives_figures_that_recommend_nothing() -> None:
    """Red when a captioner that says nothing ends in a traceback."""
    assert "cannot tell" in conclusion(recommend(summarise(Observations(greedy_iou=[0.0]), 100)))

"""Captions against human texts, by hand and by the published examples of the scores."""

from __future__ import annotations

import math
import shutil
import sys
from typing import Any

import numpy as np
import pytest

from sa2va_native.errors import ConfigError
from sa2va_native.evaluation.caption_metric import CaptionMetric
from sa2va_native.evaluation.coco_caption_metric import CocoCaptionMetric
from sa2va_native.evaluation.coco_captions import coco_scores
from sa2va_native.evaluation.regions import Region, by_region, region_of
from tests.sa2va_native.evaluation.masks import dot


def sample(caption: str | None, text: str, picture: str = "p", place: int = 0, stopped: Any = True) -> dict[str, Any]:
    mask = dot(0, place)
    stopped = None if caption is None else stopped
    return dict(
        kind="caption", source="val", picture_id=picture, gt_mask=mask, caption=caption, text=text, stopped=stopped
    )


def scores(samples: list[dict[str, Any]]) -> dict[str, float]:
    metric = CaptionMetric()
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def _require_library_and_java() -> None:
    pytest.importorskip("pycocoevalcap", reason="an extra: pip install -r requirements/captions.txt")
    if shutil.which("java") is None:
        pytest.skip("pycocoevalcap runs Java programs")


def test_a_region_with_several_texts_counts_once() -> None:
    """Red when each text of an object is scored as an object, or regions are joined across pictures or masks."""
    same = [sample("a dog", text) for text in ("the cat", "A  dog.", "a ball")]
    others = [sample("a dog", "a cat", picture="q"), sample("a dog", "a cat", place=1)]
    regions = by_region(map(region_of, same + others))
    assert sorted(region.references for region in regions) == [("A  dog.", "a ball", "the cat"), ("a cat",), ("a cat",)]
    assert scores(same + others) == {
        "caption_agreement": 1 / 3,
        "caption_length": 2.0,
        "caption_stop_rate": 1.0,
        "caption_distinct_1": 2 / 6,
        "caption_distinct_2": 1 / 3,
        "caption_different": 1.0,
    }


def test_missing_empty_and_unfinished_captions() -> None:
    """Red when a missing caption is skipped, or one cut at the length limit counts as finished."""
    result = scores(
        [
            sample("a red dog", "a red dog", "1"),
            sample("a dog and a dog and", "a dog", "2", stopped=False),
            sample("", ".", "3"),
            sample(None, "a cow", "4"),
        ]
    )
    assert (result["caption_agreement"], result["caption_length"], result["caption_stop_rate"]) == (0.25, 2.25, 0.5)
    assert result["caption_different"] == 2
    assert math.isnan(scores([])["caption_agreement"])


def test_the_order_of_samples_does_not_matter() -> None:
    """Red when ranks that pool their samples in another order report other digits or other captions."""
    samples = [sample(f"a dog {i % 3}", f"text {i}", str(i // 2), stopped=bool(i % 2)) for i in range(8)]
    assert len({str(scores([samples[i] for i in np.random.default_rng(s).permutation(8)])) for s in range(9)}) == 1


def test_without_the_library_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when an evaluation runs for hours and then cannot score."""
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    with pytest.raises(ConfigError, match=r"pip install -r requirements/captions\.txt"):
        CocoCaptionMetric()


def test_an_unknown_score_is_named() -> None:
    """Red when a misspelt score is left out without a word."""
    with pytest.raises(ConfigError, match=r"'meteorr' is unknown. Did you mean 'meteor'"):
        CocoCaptionMetric(scores=("bleu", "meteorr"))


def test_without_java_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when the missing program is found out after the predictions."""
    pytest.importorskip("pycocoevalcap", reason="an extra: pip install -r requirements/captions.txt")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="no 'java' on the PATH"):
        CocoCaptionMetric()


@pytest.mark.slow
def test_scores_are_those_of_their_papers() -> None:
    """Worked examples: BLEU of Papineni et al. (2002), Table 1; ROUGE-L of Lin (2004) with COCO's beta; CIDEr's bound.

    Red when captions and texts are exchanged, a text is lost, lines are shifted by an empty or broken caption, or words
    are split otherwise than in the challenge.
    """
    _require_library_and_java()
    the = Region("a", "the the the the the the the.", True, ("The cat is on the mat.", "There is a cat on the mat."))
    killer = Region("b", "police\u2028kill the gunman", True, ("Police killed the gunman!",))
    empty = [Region("c", None, False, ("a red star",)), Region("d", "", False, ("a blue ring",))]
    same = Region("e", "one small dog runs far away", True, ("One small dog runs far away.",))

    bleu = coco_scores([the], ["bleu"])
    assert bleu["caption_bleu_1"] == pytest.approx(2 / 7, abs=1e-6)  # clipped: "the" is twice in the first text

    precision = recall = 3 / 4  # police the gunman
    rouge = (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)
    assert coco_scores([killer, *empty], ["rouge"])["caption_rouge_l"] == pytest.approx(rouge / 3)

    perfect = coco_scores([same, *empty], ["bleu", "cider", "rouge"])
    assert perfect["caption_cider"] == pytest.approx(10 / 3)
    assert perfect["caption_rouge_l"] == pytest.approx(1 / 3)
    assert perfect["caption_bleu_4"] == pytest.approx(math.exp(1 - 12 / 6), abs=1e-6)  # brevity: 6 words of 12
    assert coco_scores([same], ["meteor"])["caption_meteor"] == pytest.approx(1)
    assert coco_scores([empty[0]], ["meteor"])["caption_meteor"] == 0


@pytest.mark.slow
def test_the_metric_joins_the_texts_of_a_region() -> None:
    """Red when each text is a region of its own, of which an average caption fits one in three."""
    _require_library_and_java()
    metric = CocoCaptionMetric(source="val", scores=["rouge"])
    metric.process(None, [sample("a dog", text) for text in ("the cat", "a dog", "a ball")])
    assert metric.evaluate(3) == {"val/caption_rouge_l": pytest.approx(1.0)}

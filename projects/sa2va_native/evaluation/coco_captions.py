"""The caption scores of the COCO challenge, by its own code: pycocoevalcap, an extra that needs Java."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Sequence
from typing import Any

from sa2va_native.errors import ConfigError, did_you_mean
from sa2va_native.evaluation.regions import Region

#: Score -> module and class of pycocoevalcap, and the figures that it gives.
_SCORERS = {
    "bleu": ("bleu.bleu", "Bleu", tuple(f"caption_bleu_{n}" for n in range(1, 5))),
    "rouge": ("rouge.rouge", "Rouge", ("caption_rouge_l",)),
    "cider": ("cider.cider", "Cider", ("caption_cider",)),
    "meteor": ("meteor.meteor", "Meteor", ("caption_meteor",)),
    "spice": ("spice.spice", "Spice", ("caption_spice",)),
}


def check_scores(scores: Sequence[str]) -> tuple[str, ...]:
    """``scores``, if they can be computed here.

    Raises:
        ConfigError: one is unknown; pycocoevalcap or Java is missing.
    """
    for name in scores:
        if name not in _SCORERS:
            raise ConfigError(f"caption score {name!r} is unknown. {did_you_mean(name, _SCORERS)}")
    _imported("tokenizer.ptbtokenizer")
    if shutil.which("java") is None:
        raise ConfigError(
            "caption scores: pycocoevalcap splits words with a Java program, and there is no 'java' on the PATH. "
            "Install a Java runtime, or use CaptionMetric alone."
        )
    return tuple(scores)


def coco_scores(regions: Sequence[Region], scores: Sequence[str]) -> dict[str, float]:
    """BLEU-1 to 4, ROUGE-L, CIDEr, METEOR and SPICE of captions: CIDEr in 0..10, the others in 0..1.

    The order of the regions may change the last digits. A missing caption is an empty one.

    Args:
        regions: each with at least one human text.
        scores: names of the scores, see :func:`check_scores`.

    Returns:
        each figure by its name; NaN without regions.

    Raises:
        ConfigError: pycocoevalcap's folder, in which its tokenizer puts a file, is not writable.
    """
    if not regions:
        return {figure: float("nan") for name in scores for figure in _SCORERS[name][2]}
    said = {number: [region.caption or ""] for number, region in enumerate(regions)}
    human = {number: list(region.references) for number, region in enumerate(regions)}
    captions, references = _split(said), _split(human)
    figures: dict[str, float] = {}
    for name in scores:
        module, scorer, names = _SCORERS[name]
        silent = {"verbose": 0} if name == "bleu" else {}
        score, _ = getattr(_imported(module), scorer)().compute_score(references, captions, **silent)
        figures.update(zip(names, map(float, score if name == "bleu" else [score]), strict=True))
    return figures


def _split(texts: dict[int, list[str]]) -> dict[int, list[str]]:
    """The texts as words of the Penn treebank between single spaces, in lower case and without punctuation."""
    # One line each, whatever Java takes for the end of a line. An empty one would be lost at the end.
    lines = {number: [" ".join(text.split()) or "." for text in of_one] for number, of_one in texts.items()}
    tokenizer = _imported("tokenizer.ptbtokenizer").PTBTokenizer()
    try:
        return tokenizer.tokenize({number: [{"caption": line} for line in lines[number]] for number in lines})
    except OSError as error:
        raise ConfigError(
            f"caption scores: pycocoevalcap puts a file into its own folder, which failed ({error}). Install it where "
            "you may write."
        ) from error


def _imported(module: str) -> Any:
    try:
        return importlib.import_module(f"pycocoevalcap.{module}")
    except ImportError as error:
        raise ConfigError(
            f"caption scores are computed by pycocoevalcap, which cannot be imported ({error}). "
            "Run: pip install -r requirements/captions.txt; or use CaptionMetric alone."
        ) from error

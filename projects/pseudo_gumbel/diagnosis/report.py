"""The figures as a short table, for someone who does not know the code."""

from __future__ import annotations

from textwrap import fill

from pseudo_gumbel.diagnosis.figures import MATTERS, Figures
from pseudo_gumbel.diagnosis.rules import Recommendation

_WIDTH = 66


def table(figures: Figures) -> str:
    """The figures in the order of docs/diagnosis.md; those that are not known are left out."""
    f = figures
    blocks: list[tuple[str, list[tuple[str, float, str]]]] = [
        (
            f"What the reader can tell apart ({f.objects} objects, {f.with_human_text} with human text)",
            [
                ("words that the captioner finds likely at a position", f.alternatives, ".1f"),
                (f"positions where words change the mask (cost differs by {MATTERS:g})", f.words_matter, ".0%"),
                ("cost between the best and the worst word", f.spread, ".2f"),
                ("human texts whose own word leads back best, where words matter", f.true_cheapest, ".0%"),
                ("... by chance", f.true_chance, ".0%"),
            ],
        ),
        (
            "What the captioner knows",
            [
                ("entropy at these positions (nats)", f.entropy, ".2f"),
                ("probability of the word that leads back best", f.p_best, ".2f"),
                ("... if it did not know", f.p_chance, ".2f"),
                ("captions whose own word is that word", f.greedy_is_best, ".0%"),
                ("probability of the human's word", f.p_true, ".2f"),
            ],
        ),
        (
            "Head-room: IoU of caption -> mask",
            [
                ("captions of other objects (floor)", f.floor, ".2f"),
                ("the captioner's captions", f.greedy, ".2f"),
                ("... with the best word at one position", f.best_word, ".2f"),
                ("a sampled caption", f.sampled, ".2f"),
                ("... the best of the samples", f.best_sampled, ".2f"),
                ("human text (ceiling)", f.human, ".2f"),
                ("... the captioner's captions of the same objects", f.greedy_of_human, ".2f"),
                ("captions that have a better word", f.better, ".0%"),
            ],
        ),
        (
            "Where words lead",
            [
                ("words that lead nowhere (empty mask)", f.empty, ".0%"),
                ("words that lead elsewhere (under a tenth on the object)", f.elsewhere, ".0%"),
            ],
        ),
        (
            "Does the slope at a word say what swapping says?",
            [
                ("gain that the slope promises, as a share of the real one", f.fall, ".0%"),
                ("promises with the right sign", f.sign, ".0%"),
                ("straight-through: cosine of its push with the swaps'", f.straight_through, ".2f"),
                ("soft words: cosine of their push with the swaps'", f.soft, ".2f"),
            ],
        ),
        (
            f"Does the learning rate move captions? (better words' probability after {f.run_steps} steps)",
            [
                (f"lr {one.lr:g}: from {one.at_the_end(0):.2f} to", one.at_the_end(f.run_steps), ".2f")
                for one in f.probes
            ],
        ),
    ]
    lines = []
    for title, rows in blocks:
        known = [f"  {name:<{_WIDTH}} {value:>6{shape}}" for name, value, shape in rows if value == value]
        lines += [title, *known, ""] if known else []
    return "\n".join(lines)


def conclusion(recommendation: Recommendation) -> str:
    """The recommendation, a sentence after the other."""
    wrapped = (fill(line, 100, initial_indent="  ", subsequent_indent="    ") for line in recommendation.lines)
    return "\n".join(["Recommendation", *wrapped])

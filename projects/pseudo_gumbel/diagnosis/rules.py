"""What follows from the figures. Each rule is a threshold, and the docstrings say where it comes from.

The thresholds were set between the tiny bases on which training runs had been made: one on which word trials alone
help, one on which soft Gumbel words help too, one whose captions are true already, and one of random weights.
docs/diagnosis.md has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass

from pseudo_gumbel.diagnosis.figures import Figures
from pseudo_gumbel.diagnosis.probe import moves

#: Gain of mean IoU by the best word at one position below which there is nothing to learn (measured: .30, .21, .05).
HEAD_ROOM = 0.05
#: Share of captions that must have a better word (measured: .56, .40, .06 and 0): a few teach a run nothing.
BETTER = 0.15
#: Share of positions at which words must change the mask (measured: .80, .64, .41 and .00).
WORDS_MATTER = 0.2
#: How many times as often as by chance a human's word must be the cheapest, where there is human text.
TRUE_OVER_CHANCE = 1.5
#: Share of the real gain that the slope at a word must promise (measured: .05 and .01).
FALL = 0.25
#: Mean cosine between what an estimator pushes and what the swaps push (measured for soft words: .41 and .74).
AGREEMENT = 0.55
#: Probability of the best word below which a soft word is a mixture of too many words (measured: .16 and .36).
MIXTURE = 0.25

#: Which of the three judged estimators stands for a config's own; others were not judged.
STANDS_FOR = {
    "WordTrials": "word_trials",
    "ExpectedCost": "word_trials",
    "SoftGumbel": "soft_gumbel",
    "StraightThroughGumbel": "specified",
}
#: Sizes for which ``configs/RECIPE_SIZE.py`` exists; where the one asked for does not, the last is the pattern.
SIZES = {"word_trials": ("tiny", "mid", "4b"), "soft_gumbel": ("tiny",), "pseudo_gumbel": ("tiny", "mid", "4b")}


@dataclass(frozen=True)
class Recommendation:
    """What will help, and why."""

    word_trials: bool
    soft_gumbel: bool
    specified: bool
    moves: bool | None  #: whether the config's learning rate moves captions; None if it was not probed
    raise_lr_to: float | None  #: the lowest probed rate that does, if the config's does not
    own: bool | None  #: whether the config's own estimator is among those that help; None if it was not judged
    configs: tuple[str, ...]  #: to train with next, the surest first
    lines: tuple[str, ...]  #: the same in words, the conclusion first


def recommend(figures: Figures, config: str, estimator: str | None) -> Recommendation:
    """Judges the figures; nan fails every rule that needs it, except that of human text, which is optional.

    Args:
        figures: of the model.
        config: name of its config; what is recommended has its size, if the name ends with one.
        estimator: class name of the config's own estimator; None if it has no cycle.
    """
    own_moves = moves(figures.probes[0], figures.run_steps) if figures.probes else None
    if (blocked := why_nothing_helps(figures)) is not None:
        own = False if estimator in STANDS_FOR else None
        return Recommendation(False, False, False, own_moves, None, own, (), (blocked,))
    helps = {
        "word_trials": True,
        "soft_gumbel": soft_gumbel_helps(figures),
        "specified": specified_helps(figures),
    }
    higher = next((one.lr for one in figures.probes[1:] if moves(one, figures.run_steps)), None)
    own = helps.get(STANDS_FOR.get(str(estimator), ""))
    recipes = [recipe for recipe, kind in zip(SIZES, helps, strict=True) if helps[kind]]
    configs = tuple(config_of(recipe, config) for recipe in recipes)
    lines = (
        _trials_line(figures),
        _soft_line(figures, helps["soft_gumbel"]),
        _specified_line(figures, helps["specified"]),
        *_rate_lines(figures, own_moves, higher),
        *_own_lines(estimator, own),
        f"Train next with {' or '.join(configs)}.",
    )
    return Recommendation(**helps, moves=own_moves, raise_lr_to=None if own_moves else higher, own=own, configs=configs,
                          lines=lines)  # fmt: skip


def config_of(recipe: str, config: str) -> str:
    """The recipe's config of the same size as ``config``; else that of the largest size, as a pattern."""
    size = config.rsplit("_", 1)[-1]
    return f"configs/{recipe}_{size if size in SIZES[recipe] else SIZES[recipe][-1]}.py"


def why_nothing_helps(figures: Figures) -> str | None:
    """The sentence that ends a diagnosis, or None if words can teach something."""
    if not figures.words_matter >= WORDS_MATTER:
        return (
            "Nothing will help: the reader cannot tell words apart. Other words change the mask at "
            f"{figures.words_matter:.0%} of the positions (at least {WORDS_MATTER:.0%} are needed). Train "
            "referring first."
        )
    gain = figures.best_word - figures.greedy
    if not (gain >= HEAD_ROOM and figures.better >= BETTER):
        human = figures.human - figures.greedy_of_human
        if human >= 2 * HEAD_ROOM:
            return (
                f"Nothing will help: there is head-room, as human texts gain {human:+.2f} IoU, but no word that the "
                f"captioner finds likely reaches it ({gain:+.2f}). Train on some human captions first."
            )
        return (
            "Nothing will help: there is no head-room, because the captions lead back about as well as they can. "
            f"The best word gains {gain:+.2f} IoU (at least {HEAD_ROOM:+.2f} is needed), and only "
            f"{figures.better:.0%} of the captions have a better word at all (at least {BETTER:.0%} are needed)."
        )
    if figures.true_cheapest < TRUE_OVER_CHANCE * figures.true_chance:
        return (
            f"Nothing will help: the reader does not prefer true words. The human's word leads back best in "
            f"{figures.true_cheapest:.0%} of the texts, by chance in {figures.true_chance:.0%}. What the cycle would "
            "teach is a private code. Train referring first."
        )
    return None


def soft_gumbel_helps(figures: Figures) -> bool:
    """Soft words pass a slope that agrees with the swaps, and few words share the mixture."""
    return figures.soft >= AGREEMENT and figures.p_best >= MIXTURE


def specified_helps(figures: Figures) -> bool:
    """The slope at a word itself says what swapping the word says, in direction and in size."""
    return figures.straight_through >= AGREEMENT and figures.fall >= FALL


def _trials_line(figures: Figures) -> str:
    return (
        f"Word trials will help: the best word at one position raises the cycle's IoU from {figures.greedy:.2f} to "
        f"{figures.best_word:.2f}, and {figures.better:.0%} of the captions have a better word."
    )


def _soft_line(figures: Figures, helps: bool) -> str:
    if helps:
        return (
            f"Soft Gumbel words will help: their slope agrees with the swaps (cosine {figures.soft:.2f}), and the best "
            f"word already has probability {figures.p_best:.2f}."
        )
    if not figures.soft >= AGREEMENT:
        return (
            f"Soft Gumbel words will not help: their slope hardly agrees with the swaps (cosine {figures.soft:.2f}, at "
            f"least {AGREEMENT:.2f} is needed)."
        )
    return (
        f"Soft Gumbel words will not help: the best word has probability {figures.p_best:.2f} (at least "
        f"{MIXTURE:.2f} is needed), so a soft word is a mixture of too many words."
    )


def _specified_line(figures: Figures, helps: bool) -> str:
    if helps:
        return (
            f"The specified estimator (straight-through) will help: the slope at a word promises {figures.fall:.0%} of "
            f"what the better word brings, and agrees with the swaps (cosine {figures.straight_through:.2f})."
        )
    if figures.fall >= FALL:
        return (
            "The specified estimator (straight-through) will not help: the slope at a word hardly agrees with the "
            f"swaps (cosine {figures.straight_through:.2f}, at least {AGREEMENT:.2f} is needed)."
        )
    return (
        f"The specified estimator (straight-through) will not help: the slope at a word promises {figures.fall:.0%} of "
        f"what the better word brings (at least {FALL:.0%} is needed; cosine with the swaps "
        f"{figures.straight_through:.2f})."
    )


def _rate_lines(figures: Figures, own: bool | None, higher: float | None) -> tuple[str, ...]:
    if own is None or not figures.probes:
        return ()
    first = figures.probes[0]
    become = (
        f"better words would go from probability {first.at_the_end(0):.2f} to {first.at_the_end(figures.run_steps):.2f}"
    )
    run = f"in {figures.run_steps} steps at the config's learning rate {first.lr:g}"
    if own:
        return (f"The learning rate is high enough: trained on them directly, {become} {run}.",)
    to = f" to about {higher:g}" if higher else ", or train longer"
    return (f"Raise the learning rate{to}: even trained on them directly, {become} {run}.",)


def _own_lines(estimator: str | None, own: bool | None) -> tuple[str, ...]:
    if estimator is None:
        return ()
    if own is None:
        return (f"The config's own estimator, {estimator}, was not judged.",)
    return (f"The config's own estimator, {estimator}, {'is' if own else 'is not'} among those that will help.",)

"""How the captioner learns from masks: each estimator is a class, picked by ``model.estimator`` in the config."""

from pseudo_gumbel.estimators.best_of_n import BestOfN
from pseudo_gumbel.estimators.expected_cost import ExpectedCost
from pseudo_gumbel.estimators.pathwise import DetachedGumbel, SoftGumbel, StraightThroughGumbel, TeacherWords
from pseudo_gumbel.estimators.pathwise_mixed import MixedGumbel
from pseudo_gumbel.estimators.pathwise_rao import GumbelRao
from pseudo_gumbel.estimators.pathwise_reinmax import ReinMax
from pseudo_gumbel.estimators.score_function import ScoreFunction, SelfCritical
from pseudo_gumbel.estimators.word_trials import WordTrials

__all__ = [
    "BestOfN",
    "DetachedGumbel",
    "ExpectedCost",
    "GumbelRao",
    "MixedGumbel",
    "ReinMax",
    "ScoreFunction",
    "SelfCritical",
    "SoftGumbel",
    "StraightThroughGumbel",
    "TeacherWords",
    "WordTrials",
]

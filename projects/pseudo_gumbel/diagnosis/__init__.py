"""Can the cycle teach this captioner anything? Figures from a sample of the data, and what follows from them.

:func:`pseudo_gumbel.diagnosis.diagnose.diagnose` takes them, :func:`pseudo_gumbel.diagnosis.rules.recommend` judges.
"""

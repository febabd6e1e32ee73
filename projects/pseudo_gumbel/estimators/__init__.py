"""How the captioner learns from masks: each estimator is a class, picked by ``model.estimator`` in the config."""

from pseudo_gumbel.estimators.pathwise import DetachedGumbel, SoftGumbel, StraightThroughGumbel, TeacherWords

__all__ = ["DetachedGumbel", "SoftGumbel", "StraightThroughGumbel", "TeacherWords"]

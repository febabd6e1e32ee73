"""Who captions the masked regions: each captioner is a class, picked by ``model.captioner`` in the config."""

from pseudo_gumbel.captioners.merged_teacher_captioner import MergedTeacherCaptioner
from pseudo_gumbel.captioners.static_teacher_captioner import StaticTeacherCaptioner
from pseudo_gumbel.captioners.teacher_captioner import TeacherCaptioner

__all__ = ["MergedTeacherCaptioner", "StaticTeacherCaptioner", "TeacherCaptioner"]

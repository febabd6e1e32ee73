"""Who reads the words and draws the mask: each reader is a class, picked by ``model.reader`` in the config."""

from pseudo_gumbel.readers.frozen_reader import FrozenReader
from pseudo_gumbel.readers.refreshed_reader import RefreshedReader
from pseudo_gumbel.readers.student_reader import StudentReader
from pseudo_gumbel.readers.teacher_reader import TeacherReader

__all__ = ["FrozenReader", "RefreshedReader", "StudentReader", "TeacherReader"]

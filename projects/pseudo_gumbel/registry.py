"""Registries that MMEngine does not have already; models, data sets, hooks and metrics go to MMEngine's own."""

from mmengine.registry import Registry

#: How logits become words (:mod:`projects.pseudo_gumbel.relaxations`).
WORDS = Registry("words", scope="mmengine", locations=["projects.pseudo_gumbel.relaxations"])
#: Optional losses on the student's words (:mod:`projects.pseudo_gumbel.regularizers`).
REGULARIZERS = Registry("regularizer", scope="mmengine", locations=["projects.pseudo_gumbel.regularizers"])

"""Registries that MMEngine does not have already; models, data sets, hooks and metrics go to MMEngine's own."""

from mmengine.registry import Registry

#: How logits become words (:mod:`pseudo_gumbel.relaxations`).
WORDS = Registry("words", scope="mmengine", locations=["pseudo_gumbel.relaxations"])
#: Optional losses on the student's words (:mod:`pseudo_gumbel.regularizers`).
REGULARIZERS = Registry("regularizer", scope="mmengine", locations=["pseudo_gumbel.regularizers"])

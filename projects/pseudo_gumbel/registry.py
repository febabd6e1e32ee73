"""Registries of the method's own kinds of classes; models, data sets, hooks and metrics use MMEngine's."""

from mmengine.registry import Registry

#: How the captioner learns from masks (:mod:`pseudo_gumbel.estimators`).
ESTIMATORS = Registry("estimator", scope="mmengine", locations=["pseudo_gumbel.estimators"])
#: Who captions the masked regions (:mod:`pseudo_gumbel.captioners`).
CAPTIONERS = Registry("captioner", scope="mmengine", locations=["pseudo_gumbel.captioners"])
#: Whose weights turn words into masks (:mod:`pseudo_gumbel.readers`).
READERS = Registry("reader", scope="mmengine", locations=["pseudo_gumbel.readers"])
#: What a mask costs (:mod:`pseudo_gumbel.costs`).
COSTS = Registry("cost", scope="mmengine", locations=["pseudo_gumbel.costs"])
#: Optional losses on a step (:mod:`pseudo_gumbel.regularizers`).
REGULARIZERS = Registry(
    "regularizer", scope="mmengine", locations=["pseudo_gumbel.regularizers", "pseudo_gumbel.refer_back"]
)

"""What a mask costs, reading by reading: each cost is a class, picked by ``model.cost`` in the config."""

from pseudo_gumbel.costs.another_mask import AnotherMask
from pseudo_gumbel.costs.in_picture_contrast import InPictureContrast
from pseudo_gumbel.costs.pixel_costs import AllPixelCost, SoftIouCost, UncertainPointCost
from pseudo_gumbel.costs.rank_cost import RankCost

__all__ = ["AllPixelCost", "AnotherMask", "InPictureContrast", "RankCost", "SoftIouCost", "UncertainPointCost"]

"""The packages of pseudo-gumbel: :mod:`projects.sa2va` (base model) and :mod:`projects.pseudo_gumbel` (method)."""

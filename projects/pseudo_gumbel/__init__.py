"""Pseudo-Gumbel: learning to ground and to caption from masks without captions. Imports :mod:`projects.sa2va`."""

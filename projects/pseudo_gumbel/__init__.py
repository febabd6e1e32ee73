"""Pseudo-Gumbel: learning to ground and to caption from masks without captions. Imports :mod:`sa2va_native`."""

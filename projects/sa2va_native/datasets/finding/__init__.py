"""Finds the data sets at a path."""

"""Finds files, and writes them completely or not at all."""

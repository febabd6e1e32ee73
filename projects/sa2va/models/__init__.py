"""The base model and its parts."""

from projects.sa2va.models.sa2va import Sa2VA

__all__ = ["Sa2VA"]

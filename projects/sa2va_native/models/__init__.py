"""The base model and its parts."""

from sa2va_native.models.sa2va import Sa2VA

__all__ = ["Sa2VA"]

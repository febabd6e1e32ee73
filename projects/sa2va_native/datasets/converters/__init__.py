"""Converts the formats of other tools to own data and to pairs of frames."""

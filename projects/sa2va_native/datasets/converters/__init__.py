"""From the formats of other tools to own data and pairs of frames."""

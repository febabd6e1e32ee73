"""Where files are, and writing them whole or not at all."""

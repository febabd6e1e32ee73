"""The experiment of the method: which runs, in which order, and what their results say together."""

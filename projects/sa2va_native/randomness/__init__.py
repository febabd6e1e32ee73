"""Random draws keyed by seed, step and sample."""

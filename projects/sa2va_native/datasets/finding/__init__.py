"""What data sets lie at a path."""

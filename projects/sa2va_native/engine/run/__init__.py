"""Starting a run and keeping it going."""

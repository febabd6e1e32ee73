"""Records of large sets on disk, memory-mapped."""

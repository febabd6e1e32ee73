"""Ranks, shards and pools: code that works the same on one process and on many."""

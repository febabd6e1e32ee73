"""Ranks, shards and pools: what works the same on one process and on many."""

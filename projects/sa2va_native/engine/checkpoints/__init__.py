"""Checkpoints of runs: written whole, read without running code, resumed on other ranks."""

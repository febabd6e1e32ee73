"""Hooks of the method: EMA teacher, gradient flow, caption panel."""

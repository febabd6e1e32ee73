"""Hooks of the method: EMA teacher, frozen reader, gradient flow, alarms, caption panel, annealing."""

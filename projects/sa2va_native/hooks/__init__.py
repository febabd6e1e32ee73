"""MMEngine hooks that any model of the project can use. Each does one thing and keeps its own state."""

"""Generated scenes with exact masks and true expressions."""

"""Touches: one outside thing to a file."""

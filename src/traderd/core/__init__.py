"""Decides: pure code without clock, randomness, logging or network."""

"""Translates: one exchange's dialect to a file, bytes in, events out."""

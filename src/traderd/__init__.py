"""traderd: a real-time streaming trading daemon."""

__version__ = "0.1.0"

"""The composition root: the only place that knows the mode and names the adapters."""

from traderd.app.daemon import run

__all__ = ["run"]

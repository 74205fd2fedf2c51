"""What a daemon still waits for, in the operator's words: /readyz, /status and the line at READY."""

from collections.abc import Iterable

_STALLED_S_MAX = 2.0
"""A database that takes nothing for so long is away."""


class Readiness:
    """Ready when every venue is connected, the portfolio is recovered and the database takes what it is given."""

    def __init__(self, venues: Iterable[str]) -> None:
        self.recovered = False
        self._missing = {"database": "not reached yet"} | dict.fromkeys(venues, "not connected yet")

    @property
    def reasons(self) -> list[str]:
        """Why it isn't ready; none when it is."""
        return [f"{name}: {reason}" for name, reason in self._missing.items()]

    def venue(self, name: str, live: bool) -> None:
        """How a venue's session is now."""
        if live:
            self._missing.pop(name, None)
        else:
            self._missing[name] = "disconnected"

    def journals(self, foreign: str) -> None:
        """Why a journal and the database don't belong together; "" where they do."""
        if foreign:
            self._missing["journal"] = foreign
        else:
            self._missing.pop("journal", None)

    def database(self, stalled_s: float) -> None:
        """For how long the database has taken nothing of what there was."""
        if not self.recovered:
            return
        if stalled_s < _STALLED_S_MAX:
            self._missing.pop("database", None)
        else:
            self._missing["database"] = f"takes nothing for {stalled_s:.0f} s; what arrives is journalled"

"""A run of frames that couldn't be read: when it is over, and which streams it made a hole in.

Refuses to say whose the frames were: nobody can tell.
"""

from collections.abc import Iterator

_QUIET_NS = 1_000_000_000
"""After so long without such a frame the streams are whole again."""
_LONGEST_NS = 60_000_000_000
"""A hole that they make is ended after so long, to be healed, also while they go on; the next makes another."""


class Illegible:
    """Of one session."""

    def __init__(self) -> None:
        self.streams: set[int] = set()
        """Those whose gap this run opened."""
        self._first_ns = 0
        self._last_ns = 0

    def begins(self, received_ns: int) -> bool:
        """One came; whether a run begins with it."""
        self._last_ns = received_ns
        if self.streams:
            return False
        self._first_ns = received_ns
        return True

    def ended(self, now_ns: int) -> Iterator[int]:
        """The streams of a run that is over, once."""
        if now_ns - self._last_ns < _QUIET_NS and now_ns - self._first_ns < _LONGEST_NS:
            return
        streams, self.streams = self.streams, set()
        yield from streams

"""Whether a tick of an instrument is as they all are: the price as it was, the time as it should be, and a new one.

What is asked at every tick lies together, so that of a thousand instruments each has it in one place of the memory.
Refuses to learn anything: what moves the bounds is the gate's (core.quality).
"""

from typing import TYPE_CHECKING

DUE = 2
"""Admitted, and something is to be learned from it."""


class BoundsSlowly:
    """The bounds; with none set nothing is within them."""

    __slots__ = ("ahead_ns", "behind_ns", "due_ns", "high", "key", "low")

    def __init__(self) -> None:
        self.low = 0.0
        self.high = 0.0
        self.behind_ns = 0
        """How much earlier than ours the venue's time may be (negative), and how much later."""
        self.ahead_ns = 0
        self.due_ns = 0
        """When something of it is to be learned from again."""
        self.key = ""
        """What the newest tick is told by from a repeated one."""

    def admits(self, key: str, least: float, most: float, venue_ns: int, now_ns: int) -> int:
        """0 unless its prices lie within, its venue's time (0: none) too and its key is a new one, which is kept then.

        Else 1, or DUE.
        """
        if not (self.low <= least and most <= self.high) or key == self.key:
            return 0
        if venue_ns and not self.behind_ns <= venue_ns - now_ns <= self.ahead_ns:
            return 0
        self.key = key
        return DUE if now_ns >= self.due_ns else 1


if TYPE_CHECKING:
    Bounds = BoundsSlowly
else:
    try:
        from traderd.native import Bounds
    except ImportError:  # installed where no C compiler was at hand
        Bounds = BoundsSlowly

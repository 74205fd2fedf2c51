"""Whether a tick of an instrument is as they all are: the price as it was, the time as it should be, and a new one.

What is asked at every tick lies together, so that of a thousand instruments each has it in one place of the memory. So
does what moves the bounds: the usual move of the price, learned from a sample of the ticks. What is to become of a tick
that isn't within them is the gate's to say (core.quality).
"""

from math import exp, log, sqrt
from typing import TYPE_CHECKING, NamedTuple

_EAGER = 8
"""A price of which no tick comes within a sample's length by this, when a sample is due, comes seldom …"""
_LENGTHS_MAX = 40
"""… and is sampled once in so many samples' lengths: else a good part of its ticks would be samples."""


class Terms(NamedTuple):
    """How it is learned; see core.quality."""

    alpha: float
    """What a sample weighs."""
    floor: float
    """A log return up to this is never too far."""
    floor_factor: float
    """The same as a ratio of prices."""
    sigmas: float
    sample_ns: int
    warmup: int
    """Samples before there are bounds."""


class BoundsSlowly:
    """The bounds; with none set nothing is within them."""

    __slots__ = (
        "ahead_ns",
        "behind_ns",
        "due_ns",
        "high",
        "key",
        "low",
        "reference",
        "sampled_ns",
        "samples",
        "terms",
        "variance",
    )

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
        self.reference = 0.0
        """The price at the newest sample; 0 before the first."""
        self.variance = 0.0
        """Of the log return of one sample."""
        self.samples = 0
        self.sampled_ns = 0
        """When the newest was taken; 0 where its move counts as one sample's, however long ago it was."""
        self.terms = Terms(0.0, 0.0, 0.0, 0.0, 0, 0)

    def set_terms(
        self, alpha: float, floor: float, floor_factor: float, sigmas: float, sample_ns: int, warmup: int
    ) -> None:
        """How it learns from here on: the Terms."""
        self.terms = Terms(alpha, floor, floor_factor, sigmas, sample_ns, warmup)

    def admits(self, key: str, least: float, most: float, venue_ns: int, now_ns: int) -> bool:
        """Whether its prices lie within, its venue's time (0: none) too and its key is a new one.

        The key is kept then, and if it is time for it the price between the two is learned from.
        """
        if not (self.low <= least and most <= self.high) or key == self.key:
            return False
        if venue_ns and not self.behind_ns <= venue_ns - now_ns <= self.ahead_ns:
            return False
        self.key = key
        if now_ns >= self.due_ns:
            self.learn((least + most) / 2, now_ns)
        return True

    def learn(self, price: float, now_ns: int) -> None:
        """Take a sample: a price that is believed, and due."""
        alpha, floor, floor_factor, sigmas, sample_ns, warmup = self.terms
        if self.reference:
            move, lengths = log(price / self.reference), 1.0
            square = move * move
            if 0 < self.sampled_ns < now_ns - sample_ns:
                lengths = (now_ns - self.sampled_ns) / sample_ns
                square /= lengths
            most = max(sigmas * sqrt(self.variance), floor)
            if self.samples >= warmup:
                square = min(square, most * most)
            self.samples += 1
            weight = max(alpha * min(lengths, _LENGTHS_MAX), 1 / self.samples)
            self.variance += weight * (square - self.variance)
        wait_ns = sample_ns
        if self.samples >= warmup:
            band = sigmas * sqrt(self.variance)
            factor = floor_factor if band <= floor else exp(min(band, 100.0))
            self.low, self.high = price / factor, price * factor
            wait_ns = sample_ns if now_ns - self.due_ns < sample_ns // _EAGER else _LENGTHS_MAX * sample_ns
        self.reference = price
        self.sampled_ns = now_ns
        self.due_ns = now_ns + wait_ns


if TYPE_CHECKING:
    Bounds = BoundsSlowly
else:
    try:
        from traderd.native import Bounds
    except ImportError:  # installed where no C compiler was at hand
        Bounds = BoundsSlowly

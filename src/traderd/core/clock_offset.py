"""How far a venue's clock is ahead of ours, from asking it what time it is.

The venue read its clock somewhere between our question and its answer: halfway, by the least mistake (RFC 5905's clock
filter: of the recent samples the one with the smallest round trip is the best). An offset that is no larger than its
own uncertainty is none: correcting by it would make times worse. Some venues tell whole seconds, others milliseconds:
what they cut off is half a unit on average, and uncertain by as much.
"""

from collections import deque

from msgspec import Struct

_SECOND_NS = 10**9
_MILLISECOND_NS = 10**6


class OffsetSample(Struct, frozen=True, gc=False):
    """One question and its answer."""

    offset_ns: int
    """The venue's clock minus ours."""
    round_trip_ns: int
    uncertainty_ns: int

    @property
    def correction_ns(self) -> int:
        """What to take off the venue's times: the offset, as far as it is certain."""
        sign = 1 if self.offset_ns > 0 else -1
        return sign * max(0, abs(self.offset_ns) - self.uncertainty_ns)


class ClockOffset:
    """One venue's."""

    def __init__(self, window: int = 10) -> None:
        self._samples: deque[OffsetSample] = deque(maxlen=window)

    def observe(self, asked_ns: int, venue_ns: int, answered_ns: int) -> OffsetSample:
        """Take one answer in; of the recent samples the one with the smallest round trip, of equals the newest."""
        round_trip_ns = answered_ns - asked_ns
        unit_ns = _SECOND_NS if venue_ns % _SECOND_NS == 0 else _MILLISECOND_NS
        offset_ns = venue_ns + unit_ns // 2 - (asked_ns + answered_ns) // 2
        self._samples.append(OffsetSample(offset_ns, round_trip_ns, round_trip_ns // 2 + unit_ns // 2))
        return min(reversed(self._samples), key=lambda sample: sample.round_trip_ns)

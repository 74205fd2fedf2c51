"""Whether a connection's numbered frames are all there.

Where a venue numbers the frames of a connection over all its channels, each is the one before + 1: a missing number is
a lost frame, and nobody knows whose. So every book that the connection carries is broken then, and every other stream
of it has a hole. Counting begins at whatever number comes first, because a recording may begin in the middle.
Refuses nothing: what a break means is for the caller to say.
"""

from array import array
from enum import Enum

from msgspec import Struct


class Continuity(Enum):
    """Where a frame stands among the frames before it."""

    OK = "ok"
    GAP = "gap"
    REPEATED = "repeated"
    """It came before, or too late: what it says is about the past and must not be applied any more."""
    RESTARTED = "restarted"
    """The venue counts anew: what came before belongs to a connection that is gone."""


class Step(Struct, frozen=True, gc=False):
    """The verdict on one frame."""

    continuity: Continuity
    missing: int = 0
    """How many frames are missing before this one."""
    breaks: bool = False
    """Whether what the connection's earlier frames built up is no longer whole."""


_OK = Step(Continuity.OK)
_NUMBER_MAX = 2**63 - 1
_REPEATED = Step(Continuity.REPEATED)
_RESTARTED = Step(Continuity.RESTARTED, breaks=True)


def judged(number: int, last: int, behind: int) -> Step:
    """A number after the newest one, `last`; -1: none. `behind` is the one before if that was a repeated one, else -1.

    0 is how a connection begins. Two numbers in a row that lie behind the newest one and follow each other are a new
    count too, whose beginning was lost: going on to call them repeated would let its frames pass as known.
    """
    if number == last + 1 or last < 0:
        return _OK
    if number > last:
        return Step(Continuity.GAP, number - last - 1, breaks=True)
    if number == 0 or (behind >= 0 and number == behind + 1):
        return _RESTARTED
    return _REPEATED


class ConnectionSequence:
    """One connection's numbers: call `follow` with each and heed the verdict."""

    __slots__ = ("_behind", "_last", "frames", "gaps", "missing", "repeated", "restarts")

    def __init__(self) -> None:
        self.frames = 0
        self.gaps = 0
        self.missing = 0
        """Frames missing in all gaps together."""
        self.repeated = 0
        self.restarts = 0
        self._begin()

    def begin_anew(self) -> None:
        """The connection is made again: whatever number comes next is where its count begins."""
        self.restarts += self._last >= 0
        self._begin()

    def _begin(self) -> None:
        self._last = -1
        self._behind = -1  # the newest number that was taken for a repeated one, until a frame is in its place

    def follow(self, number: int) -> Step:
        """The next frame's number, from 0."""
        self.frames += 1
        step = judged(number, self._last, self._behind)
        self._behind = -1
        if step is _REPEATED:
            self._behind = number
            self.repeated += 1
            return step
        self._last = number
        self.gaps += step.continuity is Continuity.GAP
        self.missing += step.missing
        self.restarts += step is _RESTARTED
        return step


class TradeNumbers:
    """The trade numbers of several streams, each followed by itself, by the rules of a connection's.

    Of a stream only what the next number is judged by is kept: a trade finds little of it in the processor's cache.
    """

    __slots__ = ("behind", "last")

    def __init__(self, streams: int) -> None:
        self.last = array("q", [-1]) * streams
        """Each stream's newest number; -1: none yet."""
        self.behind: dict[int, int] = {}
        """The newest number that was taken for a repeated one, of streams where the last was."""

    def begin_anew(self, at: int) -> None:
        """Whatever number comes next is where this stream's count begins."""
        self.last[at] = -1
        self.behind.pop(at, None)

    def breaks(self, at: int, number: int) -> bool:
        """Whether trades are missing before this one, the next of a stream."""
        number = max(min(number, _NUMBER_MAX), 0)
        last = self.last[at]
        if not self.behind and (number == last + 1 or last < 0):
            self.last[at] = number
            return False
        step = judged(number, last, self.behind.pop(at, -1))
        if step is _REPEATED:
            self.behind[at] = number
        else:
            self.last[at] = number
        return step.breaks

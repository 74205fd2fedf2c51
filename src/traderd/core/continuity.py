"""Whether a connection's numbered frames are all there.

Where a venue numbers the frames of a connection over all its channels, each is the one before + 1: a missing number is
a lost frame, and nobody knows whose. So every book that the connection carries is broken then, and every other stream
of it has a hole. Counting begins at whatever number comes first, because a recording may begin in the middle.
Refuses nothing: what a break means is for the caller to say.
"""

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
_REPEATED = Step(Continuity.REPEATED)
_RESTARTED = Step(Continuity.RESTARTED, breaks=True)


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
        """The next frame's number, from 0.

        0 is how a connection begins. Two numbers in a row that lie behind the newest one and follow each other are a
        new count too, whose beginning was lost: going on to call them repeated would let its frames pass as known.
        """
        self.frames += 1
        last, behind = self._last, self._behind
        self._behind = -1
        if number == last + 1 or last < 0:
            self._last = number
            return _OK
        if number > last:
            self._last = number
            self.gaps += 1
            self.missing += number - last - 1
            return Step(Continuity.GAP, number - last - 1, breaks=True)
        if number == 0 or (behind >= 0 and number == behind + 1):
            self._last = number
            self.restarts += 1
            return _RESTARTED
        self._behind = number
        self.repeated += 1
        return _REPEATED

"""Which streams have been silent for longer than is usual for them.

Each stream is held against its own habit. It is looked at in intervals, never at every tick: what is kept is how old
the newest message was at the last look before the next one came, which for a slow stream is its gap and for a fast one
about its mean gap (who looks at any moment finds a Poisson stream's newest message one mean gap old). Silence becomes
suspicious beyond

    max(floor, 10 x mean, 3 x peak)

where the mean is exponentially weighted and the peak fades. Refuses to judge a stream that it knows too little of, and
one whose usual silence is longer than the cap: there silence says nothing.
"""

from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

_CAP_NS = 600e9
_SAMPLES_MIN = 8
_WEIGHT = 0.03
_FADING = 0.99
_MEANS = 10.0
_PEAKS = 3.0
_NEVER_NS = 2**63 - 1


class HabitsSlowly:
    """How often each of a number of streams has something to say."""

    def __init__(self, floors_s: Sequence[float]) -> None:
        """Before so many seconds of silence each stream isn't suspected."""
        self._of = [_Habit(floor_s * 1e9) for floor_s in floors_s]

    def look(self, now_ns: int, heard_ns: "array[int]") -> list[int]:
        """Those that are silent for too long now; `heard_ns` (int64) begins with each stream's newest message.

        It is 0, or less, while a stream has none.
        """
        heard = heard_ns[: len(self._of)]
        return [at for at, (of, newest) in enumerate(zip(self._of, heard, strict=True)) if of.look(now_ns, newest)]

    def interrupted(self, places: Iterable[int]) -> None:
        """What silence there was until these are heard again is nobody's habit."""
        for at in places:
            self._of[at].newest_ns = 0

    def limit_ns(self, at: int) -> int:
        """How long this stream may be silent; centuries while nothing can be said."""
        return self._of[at].limit_ns


class _Habit:
    """One stream's."""

    __slots__ = ("_age_ns", "_floor_ns", "_mean_ns", "_peak_ns", "_samples", "limit_ns", "newest_ns")

    def __init__(self, floor_ns: float) -> None:
        self.newest_ns = 0
        self.limit_ns = _NEVER_NS
        self._floor_ns = floor_ns
        self._age_ns = 0
        self._mean_ns = self._peak_ns = 0.0
        self._samples = 0

    def look(self, now_ns: int, heard_ns: int) -> bool:
        """Whether it is silent for too long."""
        is_silent = False
        if 0 < heard_ns == self.newest_ns:
            is_silent = now_ns - heard_ns > self.limit_ns
        elif heard_ns > 0 and self.newest_ns:
            self._learn()
        self.newest_ns = max(heard_ns, 0)
        self._age_ns = now_ns - heard_ns
        return is_silent

    def _learn(self) -> None:
        """A silence is over, which was as long as it was when it was looked at last."""
        self._samples += 1
        self._mean_ns += (self._age_ns - self._mean_ns) * max(_WEIGHT, 1 / self._samples)
        self._peak_ns = max(float(self._age_ns), self._peak_ns * _FADING)
        suspicious_ns = max(self._mean_ns * _MEANS, self._peak_ns * _PEAKS)
        if self._samples >= _SAMPLES_MIN:
            self.limit_ns = int(max(self._floor_ns, suspicious_ns)) if suspicious_ns < _CAP_NS else _NEVER_NS


if TYPE_CHECKING:
    Habits = HabitsSlowly
else:
    try:
        from traderd.native import Habits
    except ImportError:  # installed where no C compiler was at hand
        Habits = HabitsSlowly

"""Which streams have been silent for longer than is usual for them.

Each stream is held against its own habit. It is looked at in intervals, never at every tick: what is kept is how old
the newest message was at the last look before the next one came, which for a slow stream is its gap and for a fast one
about its mean gap (who looks at any moment finds a Poisson stream's newest message one mean gap old). Silence becomes
suspicious beyond

    max(floor, 10 x mean, 3 x peak)

where the mean is exponentially weighted and the peak fades. Refuses to judge a stream that it knows too little of, and
one whose usual silence is longer than the cap: there silence says nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CAP_S = 600.0
_SAMPLES_MIN = 8
_WEIGHT = 0.03
_FADING = 0.99
_MEANS = 10.0
_PEAKS = 3.0
_NEVER_NS = 2**63 - 1


class Habits:
    """How often each of a number of streams has something to say."""

    def __init__(self, floors_s: Sequence[float]) -> None:
        """Before so many seconds of silence each stream isn't suspected."""
        streams = len(floors_s)
        self._floors_ns = np.array(floors_s, np.float64) * 1e9
        self._newest = np.zeros(streams, np.int64)
        self._age = np.zeros(streams, np.int64)
        self._mean = np.zeros(streams)
        self._peak = np.zeros(streams)
        self._samples = np.zeros(streams, np.int64)
        self._limit = np.full(streams, _NEVER_NS, np.int64)

    def look(self, now_ns: int, heard_ns: Sequence[int]) -> list[int]:
        """Those that are silent for too long now; `heard_ns` is each stream's newest message, 0 while it has none."""
        heard = np.array(heard_ns, np.int64)
        there, moved, age = heard > 0, heard != self._newest, now_ns - heard
        learnt = np.flatnonzero(there & moved & (self._newest > 0))
        if len(learnt):
            self._learn(learnt)
        silent = np.flatnonzero(there & ~moved & (age > self._limit))
        self._newest = np.maximum(heard, 0)
        self._age = age
        return [int(at) for at in silent]

    def interrupted(self, places: Iterable[int]) -> None:
        """What silence there was until these are heard again is nobody's habit."""
        for at in places:
            self._newest[at] = 0

    def limit_ns(self, at: int) -> int:
        """How long this stream may be silent; centuries while nothing can be said."""
        return int(self._limit[at])

    def _learn(self, at: NDArray[Any]) -> None:
        """Of these one silence is over, which was as long as it was when they were looked at last."""
        ages = self._age[at]
        self._samples[at] += 1
        samples, mean = self._samples[at], self._mean[at]
        self._mean[at] = mean = mean + (ages - mean) * np.maximum(_WEIGHT, 1 / samples)
        self._peak[at] = peak = np.maximum(ages, self._peak[at] * _FADING)
        suspicious = np.maximum(mean * _MEANS, peak * _PEAKS)
        known, usual = samples >= _SAMPLES_MIN, suspicious < _CAP_S * 1e9
        limits = np.where(usual, np.maximum(self._floors_ns[at], suspicious), 0.0).astype(np.int64)
        self._limit[at] = np.where(known, np.where(usual, limits, _NEVER_NS), self._limit[at])

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

_CAP_S = 600.0
_SAMPLES_MIN = 8
_WEIGHT = 0.03
_FADING = 0.99
_MEANS = 10.0
_PEAKS = 3.0
_NEVER_NS = 2**63


class Habits:
    """How often each of a number of streams has something to say."""

    def __init__(self, floors_s: Sequence[float]) -> None:
        """Before so many seconds of silence each stream isn't suspected."""
        streams = len(floors_s)
        self._floors_ns = [int(floor_s * 1e9) for floor_s in floors_s]
        self._newest = [0] * streams
        self._age = [0] * streams
        self._mean = [0.0] * streams
        self._peak = [0.0] * streams
        self._samples = [0] * streams
        self._limit = [_NEVER_NS] * streams

    def look(self, now_ns: int, heard_ns: Sequence[int]) -> list[int]:
        """Those that are silent for too long now; `heard_ns` is each stream's newest message, 0 while it has none."""
        silent = []
        newest, ages, limits = self._newest, self._age, self._limit
        for at, heard in enumerate(heard_ns):
            if heard <= 0:
                newest[at] = 0
                continue
            age = now_ns - heard
            if heard != newest[at]:
                if newest[at]:
                    self._learn(at, ages[at])
                newest[at] = heard
            elif age > limits[at]:
                silent.append(at)
            ages[at] = age
        return silent

    def interrupted(self, places: Iterable[int]) -> None:
        """What silence there was until these are heard again is nobody's habit."""
        for at in places:
            self._newest[at] = 0

    def limit_ns(self, at: int) -> int:
        """How long this stream may be silent; centuries while nothing can be said."""
        return self._limit[at]

    def _learn(self, at: int, age_ns: int) -> None:
        """One silence is over."""
        samples = self._samples[at] = self._samples[at] + 1
        mean = self._mean[at]
        mean = self._mean[at] = mean + (age_ns - mean) * max(_WEIGHT, 1 / samples)
        peak = self._peak[at] = max(age_ns, self._peak[at] * _FADING)
        if samples >= _SAMPLES_MIN:
            suspicious = max(mean * _MEANS, peak * _PEAKS)
            self._limit[at] = int(max(self._floors_ns[at], suspicious)) if suspicious < _CAP_S * 1e9 else _NEVER_NS

"""How often something may be done: a bucket that fills at a steady rate and holds so many turns at most.

In any span of t seconds at most `burst + rate * t` turns are given. Pure: the caller brings the time and waits by
itself. Refuses nobody: everyone is told when the own turn is.
"""


class Budget:
    """One bucket. Times are monotonic seconds."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = burst
        self._at_s = 0.0

    def take(self, now_s: float) -> float:
        """Take a turn; it may be used in so many seconds. Turns are given in the order of asking."""
        self._left = min(self._burst, self._left + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = max(self._at_s, now_s)
        self._left -= 1
        return max(0.0, -self._left / self._per_s)

"""Who is let in: refusals for a while, by status or without an answer, and the weight of requests in a minute.

Refuses nothing unless a fault says so.
"""

from collections.abc import Callable

from traderd.sim.faults import Faults

_MINUTE_S = 60.0
_TOO_MANY = 429


class Door:
    """One exchange's."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        """`clock_s`: monotonic seconds."""
        self._clock_s = clock_s
        self._window_s = clock_s()
        self._weight = 0
        self.mind(Faults())

    def mind(self, faults: Faults) -> None:
        """From now on, counted from now."""
        self._faults = faults
        self._minded_s = self._clock_s()

    @property
    def retry_after(self) -> int:
        """Seconds, to be told with a refusal; 0: nothing is told."""
        return self._faults.retry_after_s

    def refuses_websocket(self) -> int | None:
        """The status to refuse with, 0 for none at all; None lets it in."""
        if self._clock_s() - self._minded_s >= self._faults.refuse_s:
            return None
        return self._faults.refuse_status

    def refuses_rest(self, weight: int) -> int | None:
        """The same for a request of this weight."""
        now_s = self._clock_s()
        if now_s - self._window_s >= _MINUTE_S:
            self._window_s, self._weight = now_s, 0
        self._weight += weight
        if now_s - self._minded_s < self._faults.rest_refuse_s:
            return self._faults.rest_status
        limit = self._faults.weight_per_minute
        return _TOO_MANY if limit and self._weight > limit else None
